// Keeps what is shown as it is on the server. Everything reads and acts without it.
(() => {
  'use strict';
  const root = document.documentElement;
  const main = document.getElementById('main');
  const state = document.getElementById('live');
  const said = document.getElementById('said');
  root.classList.add('js');

  // What is not there twice is told apart by its id; the rest by its place.
  const morph = (old, fresh) => {
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      const kept = name === 'open' && old.localName === 'details';
      if (!kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    const named = new Map([...old.children].filter((c) => c.id).map((c) => [c.id, c]));
    let at = old.firstChild;
    for (const want of [...fresh.childNodes]) {
      let have = want.id ? named.get(want.id) : at;
      if (have && (have.id || '') !== (want.id || '')) have = null;
      if (have && have.nodeType === want.nodeType && have.nodeName === want.nodeName) {
        if (have === at) at = at.nextSibling;
        else old.insertBefore(have, at);
        if (have.nodeType === Node.ELEMENT_NODE) morph(have, want);
        else if (have.data !== want.data) have.data = want.data;
      } else {
        old.insertBefore(document.importNode(want, true), at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  const sayings = () =>
    new Map([...main.querySelectorAll('[data-say]')].map((e) => [e.id, e.dataset.say]));

  const swap = (text) => {
    const fresh = new DOMParser().parseFromString(text, 'text/html').getElementById('main');
    // Signed out, or another page than this one: the browser goes there itself.
    if (!fresh || !fresh.hasAttribute('data-live')) return location.reload();
    const focused = document.activeElement;
    const before = sayings();
    morph(main, fresh);
    if (focused && focused !== document.activeElement && main.contains(focused)) focused.focus();
    const news = [...sayings()].filter(([id, say]) => before.has(id) && before.get(id) !== say);
    if (news.length) {
      const more = news.length > 3 ? `; and ${news.length - 3} more` : '';
      said.textContent = news.slice(0, 3).map(([, say]) => say).join('; ') + more;
    }
  };

  const show = (word, off) => {
    if (state.textContent !== word) state.textContent = word;
    state.classList.toggle('off', off);
  };

  // One look at a time, and a second between two.
  const PAUSE = 1000;
  let looking = false;
  let again = false;
  const look = async () => {
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    again = false;
    try {
      const answer = await fetch(location.href, { headers: { 'x-ringward-live': '1' }, cache: 'no-store' });
      if (answer.ok) swap(await answer.text());
    } catch {
      // The stream of events says when the server is there again.
    }
    setTimeout(() => {
      looking = false;
      if (again) look();
    }, PAUSE);
  };

  let events = null;
  const listen = () => {
    if (events || document.hidden) return;
    events = new EventSource('/events');
    events.onopen = () => {
      show('live', false);
      look();
    };
    events.onmessage = look;
    events.addEventListener('error', (event) => {
      // With data it is the server's own word that something was missed; without, the line is down.
      const over = event.data !== undefined || events.readyState === EventSource.CLOSED;
      if (event.data === undefined) show('reconnecting', true);
      if (!over) return;
      events.close();
      events = null;
      setTimeout(listen, 2000);
      if (event.data === undefined) look();
    });
  };

  if (main && main.hasAttribute('data-live')) {
    listen();
    // Ages and soaks grow without an event.
    setInterval(() => events && look(), 15000);
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) return listen();
      if (events) events.close();
      events = null;
    });
    addEventListener('pagehide', () => events && events.close());
  }

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('button[data-copy]');
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      said.textContent = 'Copied';
    } catch {
      // Without leave to write to the clipboard it is at least marked, to be copied by hand.
      getSelection().selectAllChildren(source);
      said.textContent = 'Selected; copy it by the keyboard';
    }
  });
})();
