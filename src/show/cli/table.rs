//! Columns of text.

use super::style::{Style, Tone};

/// Between two columns.
const GAP: usize = 2;

/// What stands in one place of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// In a colour.
    pub fn toned((text, tone): (String, Tone)) -> Self {
        Self { text, tone: Some(tone) }
    }

    /// The text without its colour.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: None }
    }
}

/// Rows under headings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    columns: Vec<(&'static str, usize)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Under these headings.
    pub fn new(headings: &[&'static str]) -> Self {
        Self { columns: headings.iter().map(|name| (*name, 0)).collect(), rows: Vec::new() }
    }

    /// Columns that are at least so wide, so that what is drawn again does not jump.
    pub fn with_widths(columns: &[(&'static str, usize)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// The headings and the rows, each on a line of its own, without spaces at its end.
    pub fn lines(&self, style: Style) -> Vec<String> {
        let heading =
            |(name, _): &(&str, usize)| Cell { text: (*name).into(), tone: Some(Tone::Strong) };
        let headings: Vec<Cell> = self.columns.iter().map(heading).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|n| {
                let cells = self.rows.iter().filter_map(|row| row.get(n));
                let widest = cells.chain(headings.get(n)).map(|cell| width(&cell.text)).max();
                widest.unwrap_or(0).max(self.columns[n].1)
            })
            .collect();
        std::iter::once(&headings).chain(&self.rows).map(|row| line(row, &widths, style)).collect()
    }

    /// The same as one text.
    pub fn render(&self, style: Style) -> String {
        self.lines(style).iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Everything that is put into a table is one column wide a character: names are DNS labels, and so are
/// the glyphs that we draw.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn line(row: &[Cell], widths: &[usize], style: Style) -> String {
    let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
    let mut line = String::new();
    for (n, (cell, wide)) in row.iter().zip(widths).enumerate().take(last + 1) {
        match cell.tone {
            Some(tone) => line.push_str(&style.paint(tone, &cell.text)),
            None => line.push_str(&cell.text),
        }
        if n < last {
            line.extend(std::iter::repeat_n(' ', wide.saturating_sub(width(&cell.text)) + GAP));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, unicode: true };

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "N", "WHERE"]);
        table.row(["a".into(), "1".into(), "DE".into()]);
        table.row(["longer".into(), "22".into(), "".into()]);
        assert_eq!(table.render(PLAIN), "NAME    N   WHERE\na       1   DE\nlonger  22\n");
    }

    #[test]
    fn colour_takes_no_room() {
        let mut table = Table::new(&["A", "B"]);
        table.row([Cell::toned(("✔ ok".into(), Tone::Good)), "b".into()]);
        let lines = table.lines(Style { colour: true, unicode: true });
        assert_eq!(lines[1], "\x1b[32m✔ ok\x1b[0m  b");
    }
}
