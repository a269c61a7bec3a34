// What is wrong with a page for those who do not see it, and with its contrast for those who do.
(() => {
  const wrong = [];
  const name = (e) => `${e.localName}${e.id ? `#${e.id}` : ''} "${(e.textContent || '').trim().slice(0, 40)}"`;
  const seen = (e) => e.checkVisibility();
  const said = (e) =>
    (e.getAttribute('aria-label') || '').trim() ||
    (e.getAttribute('aria-labelledby') || '').split(' ').map((id) => document.getElementById(id)?.textContent || '').join(' ').trim() ||
    (e.labels && [...e.labels].map((l) => l.textContent).join(' ').trim()) ||
    (e.textContent || '').trim();
  for (const e of document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea, [role=region], svg[role], nav, progress')) {
    if (!said(e)) wrong.push(`${name(e)} has no name`);
  }
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  ids.filter((id, n) => ids.indexOf(id) !== n).forEach((id) => wrong.push(`#${id} is there twice`));
  let level = 0;
  for (const h of document.querySelectorAll('h1, h2, h3, h4')) {
    const next = Number(h.localName[1]);
    if (next > level + 1) wrong.push(`${name(h)} comes after a heading of level ${level}`);
    level = next;
  }
  if (document.querySelectorAll('h1').length !== 1) wrong.push('there is not one h1');
  for (const landmark of ['header', 'main', 'footer', 'nav']) {
    if (!document.querySelector(landmark)) wrong.push(`there is no ${landmark}`);
  }
  for (const table of document.querySelectorAll('table')) {
    if (!table.caption) wrong.push(`${name(table)} has no caption`);
    for (const th of table.querySelectorAll('th')) if (!th.scope) wrong.push(`${name(th)} has no scope`);
  }
  // WCAG 2.2, 1.4.3: relative luminance, and at least 4.5 to 1 for text of this size.
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    const all = [];
    for (let at = e; at; at = at.parentElement) all.unshift(getComputedStyle(at).backgroundColor);
    return all;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const told = new Set();
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !seen(e) || e.closest('.unseen, svg, option, script')) continue;
    const ground = behind(e);
    const [a, b] = [light(paint(ground)), light(paint([...ground, getComputedStyle(e).color]))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const key = `${e.className}|${ratio.toFixed(1)}`;
    if (ratio < 4.5 && !told.has(key)) {
      told.add(key);
      wrong.push(`${name(e)} has a contrast of ${ratio.toFixed(2)}`);
    }
  }
  return wrong;
})();
