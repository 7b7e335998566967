// Keeps the page as things stand: the server sends the live part anew whenever it has changed, and what differs is put
// into the document, so that focus, open details and the place that one reads stay.
'use strict';

(() => {
  const live = document.getElementById('live');
  const connection = document.getElementById('connection');

  const show = (state, text) => {
    connection.dataset.state = state;
    const at = connection.querySelector('[data-text]');
    if (at.textContent !== text) at.textContent = text;
  };

  // morph makes an element like another one, and touches what is the same already as little as possible.
  const morph = (is, to) => {
    for (const { name } of [...is.attributes]) {
      if (!to.hasAttribute(name) && !(name === 'open' && is.localName === 'details')) is.removeAttribute(name);
    }
    for (const { name, value } of to.attributes) {
      if (is.getAttribute(name) !== value) is.setAttribute(name, value);
    }
    const known = new Map([...is.children].filter((e) => e.id).map((e) => [e.id, e]));
    const named = new Set([...to.children].map((e) => e.id));
    for (const [id, e] of known) if (!named.has(id)) e.remove();
    let at = is.firstChild;
    for (const wanted of [...to.childNodes]) {
      const same = wanted.id && known.get(wanted.id);
      while (same && at && at !== same && !at.id) { // what has an id is not moved without need: that would take its focus
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      const fits = same || (at && !at.id && !wanted.id && at.nodeName === wanted.nodeName ? at : null);
      if (!fits) {
        is.insertBefore(wanted, at);
        continue;
      }
      if (fits === at) at = at.nextSibling;
      else is.insertBefore(fits, at);
      if (fits.nodeType === Node.ELEMENT_NODE) morph(fits, wanted);
      else if (fits.data !== wanted.data) fits.data = wanted.data;
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  const units = [['y', 365 * 86400], ['d', 86400], ['h', 3600], ['m', 60], ['s', 1]];

  // span is a duration in its two largest units, as `clusterpki status` writes it.
  const span = (seconds) => {
    const s = Math.trunc(Math.abs(seconds));
    if (s >= 10 * 86400 && s < 365 * 86400) return Math.trunc(s / 86400) + 'd';
    const i = Math.max(0, units.findIndex(([, n]) => s >= n));
    if (s < 1) return '0s';
    const [name, n] = units[i];
    const [small, m] = s >= 365 * 86400 ? units[1] : units[i + 1] || ['', 0];
    const rest = m ? Math.trunc((s % n) / m) : 0;
    return Math.trunc(s / n) + name + (rest ? ' ' + rest + small : '');
  };


  const tick = () => {
    const now = Date.now();
    const put = (e, text) => { if (e.textContent !== text) e.textContent = text; };
    for (const e of document.querySelectorAll('[data-since]')) put(e, span((now - Date.parse(e.dataset.since)) / 1000));
    for (const e of document.querySelectorAll('[data-rel]')) {
      const left = (Date.parse(e.dataset.rel) - now) / 1000;
      put(e, left < 0 ? span(left) + ' ago' : 'in ' + span(left));
    }
  };

  // find shows the tiles that have all words that are searched for. Enter goes to the first one.
  const search = document.getElementById('search');
  const find = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const tiles = [...document.querySelectorAll('[data-search]')];
    document.getElementById('find').hidden = tiles.length < 2 && words.length === 0;
    const fit = tiles.filter((t) => words.every((w) => t.dataset.search.includes(w)));
    for (const t of tiles) t.hidden = !fit.includes(t);
    const text = words.length ? fit.length + ' of ' + tiles.length : '';
    const found = document.getElementById('found');
    if (found.textContent !== text) found.textContent = text;
    return fit;
  };
  search.addEventListener('input', find);
  document.getElementById('find').addEventListener('submit', (e) => {
    e.preventDefault();
    const [first] = find();
    if (first) first.querySelector('a').click();
  });
  find();

  const look = async () => {
    // What the stream says by closing, a plain request tells: signed out, or away for a while.
    try {
      const answer = await fetch('/', { credentials: 'same-origin', redirect: 'manual' });
      if (answer.status === 401 || answer.status === 403) {
        show('ended', 'Signed out: reload the page to sign in');
        live.setAttribute('inert', '');
        return;
      }
    } catch { /* the server is away */ }
    show('lost', 'No answer, trying again');
    setTimeout(begin, 3000);
  };

  const begin = () => {
    const events = new EventSource('/events');
    events.addEventListener('view', (e) => {
      const wanted = document.createElement('div');
      wanted.id = 'live';
      wanted.innerHTML = e.data;
      morph(live, wanted);
      find();
      tick();
      show('live', 'Live');
    });
    events.addEventListener('alive', () => show('live', 'Live'));
    events.addEventListener('end', () => { events.close(); look(); });
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) look();
      else show('lost', 'No answer, trying again');
    };
  };

  setInterval(tick, 1000);
  begin();
})();
