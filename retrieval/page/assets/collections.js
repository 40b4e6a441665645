// Sends a zip, follows it until it is a collection, and lists what there is. Runs when its tab is opened for the first time.
const LOST = 'The server knows nothing more of the zip. See whether its collection is there; else send it again.';
const EVERY = 600;   // milliseconds between two looks, while something is on its way

const find = (name) => element.querySelector('.mine-' + name);
const form = find('form'), list = find('list'), none = find('none'), drop = find('drop'), dialog = find('dialog');
const chooser = form.elements.file, nameBox = form.elements.name;
const drawn = new Map();     // by a collection's name: its nodes
const KEPT = 'collections on their way';  // in the browser's memory of this page, for a reload
const followed = new Map(remembered());   // the zips that this page has sent, by their ids: what they are stopped by
let held = null;             // the file that was chosen
let sending = null;          // the request that sends it
let waiting = 0, removing = '', named = false;

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
const say = (text) => { find('said').textContent = text; };
const refuse = (text) => { find('refusal').textContent = text; };
const sentence = ({message, remedy}) => `${message} ${remedy || ''}`.trim();
const seen = () => element.offsetParent !== null && !document.hidden;
const megabytes = (bytes) => (bytes / 1e6).toLocaleString('en', {maximumFractionDigits: bytes < 1e7 ? 1 : 0});

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) || [];
  } catch {
    return [];   // a browser may keep nothing for a page in a frame: then a reload forgets what it sent
  }
}
function remember() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify([...followed]));
  } catch {
    // as above
  }
}

async function steer(words) {
  const sent = {method: 'POST', body: JSON.stringify(words), headers: {'Content-Type': 'application/json'}};
  return fetch('collections', sent).then((answer) => answer.json()).catch(() => ({message: 'The server does not answer.', remedy: 'Check that it still runs.'}));
}

// --- sending ---------------------------------------------------------------------------------------------------------

function choose(file) {
  held = file;
  refuse('');
  find('chosen').replaceChildren(make('strong', '', file.name), ` (${megabytes(file.size)} MB)`);
  if (!named || !nameBox.value) nameBox.value = nameOf(file.name);
}
// A name that can be a collection's, made of the file's; the visitor may write another.
function nameOf(file) {
  const plain = file.toLowerCase().replace(/\.(zip|tar)$/, '').normalize('NFKD').replace(/[^a-z0-9_-]+/g, '_');
  return plain.replace(/^[^a-z]+/, '').replace(/_+$/, '').slice(0, 40);
}
async function begin() {
  const name = nameBox.value.trim();
  refuse('');
  say('');
  if (!held) return refuse('Choose a zip first.');
  busy(true);
  show('Asking whether it can be sent…', null);
  const no = await steer({do: 'check', name, bytes: held.size});
  if (!no.message) return send(held, name);
  busy(false);
  refuse(sentence(no));
}
function send(file, name) {
  sending = new XMLHttpRequest();   // `fetch` does not say how much of a body was sent
  sending.open('PUT', `collections?${new URLSearchParams({name})}`);
  sending.setRequestHeader('X-File-Name', encodeURIComponent(file.name));   // no part of the address: those are logged
  sending.setRequestHeader('Content-Type', 'application/octet-stream');
  sending.responseType = 'json';
  sending.upload.addEventListener('progress', ({loaded}) => {
    show(`Sending ${file.name}: ${megabytes(loaded)} of ${megabytes(file.size)} MB`, file.size ? loaded / file.size : null);
  });
  sending.addEventListener('load', () => arrived(sending.response || {message: 'The zip was not taken.'}));
  sending.addEventListener('error', () => arrived({message: 'The zip could not be sent.', remedy: 'Check that the server still runs, then try again.'}));
  sending.addEventListener('abort', () => arrived({stopped: true}));
  sending.send(file);
}
function arrived(answer) {
  sending = null;
  if (answer.id) {
    followed.set(answer.id, answer.secret);
    remember();
    show('Looking for pictures…', null);
    return look();
  }
  busy(false);
  if (answer.stopped) say('Stopped. Nothing was kept.');
  else refuse(sentence(answer));
}
function busy(on) {
  find('add').disabled = on;
  find('underway').hidden = !on;
}
function show(words, share) {
  find('words').textContent = words;
  if (share === null) find('progress').removeAttribute('value');
  else find('progress').value = share;
}
function stop() {
  if (sending) sending.abort();
  for (const secret of followed.values()) steer({do: 'stop', secret});
}

// --- what there is ---------------------------------------------------------------------------------------------------

async function look() {
  clearTimeout(waiting);
  const answer = await fetch('collections.json').then((reply) => reply.json()).catch(() => null);
  if (answer) draw(answer);
  clearTimeout(waiting);
  if ((followed.size || find('others').textContent) && (seen() || !answer)) waiting = setTimeout(look, EVERY);
}
function draw({collections, arrivals}) {
  for (const [name, nodes] of drawn) if (!collections.some((one) => one.name === name)) { nodes.item.remove(); drawn.delete(name); }
  for (const one of collections) {
    if (!drawn.has(one.name)) drawn.set(one.name, itemOf(one));
    drawn.get(one.name).words.textContent = one.words;
  }
  list.append(...collections.map((one) => drawn.get(one.name).item).filter((node, place) => list.children[place] !== node));
  none.hidden = collections.length > 0;
  none.textContent = 'There is none yet.';
  const others = sending ? [] : arrivals.filter((one) => one.live && !followed.has(one.id));
  find('others').textContent = others.length ? `Sent from another page: ${others.map((one) => one.words).join(' ')}` : '';
  for (const id of followed.keys()) follow(arrivals.find((one) => one.id === id) || {id, state: 'refused', message: LOST});
}
function follow(one) {
  if (one.live) {
    busy(true);
    return show(one.words, one.share || null);
  }
  followed.delete(one.id);
  remember();
  if (!sending) busy(false);
  if (one.state === 'refused') refuse(one.message);
  if (one.state === 'stopped') say('Stopped. Nothing was kept.');
  if (one.state === 'added') added(one.name);
}
function added(name) {
  forget();
  say(`${name} is there, and chosen on the Search tab.`);
  window.dispatchEvent(new CustomEvent('collectionadded', {detail: name}));
  const {details, item} = drawn.get(name) || {};
  if (!details) return;
  details.open = true;
  item.scrollIntoView({block: 'nearest'});
}
function forget() {
  held = null;
  named = false;
  nameBox.value = chooser.value = '';
  find('chosen').replaceChildren(make('strong', '', 'Choose a zip'), ' or drop it here');
}

function itemOf(one) {
  const item = make('li', 'mine-item'), words = make('p'), buttons = make('div', 'mine-buttons');
  const details = make('details'), content = make('div', 'mine-held');
  item.dataset.name = one.name;
  details.append(make('summary', '', 'What it holds'), content);
  details.addEventListener('toggle', () => { if (details.open) fillHeld(one.name, content); });
  buttons.append(button('Search in it', one.name, () => window.searchIn(one.name)));
  if (one.received) buttons.append(button('Remove', one.name, () => ask(one.name)));
  item.append(make('h3', '', one.title), words, details, buttons);
  return {item, words, details};
}
function button(label, name, act) {
  const node = make('button', 'mine-button', label);
  node.type = 'button';
  node.append(make('span', 'mine-hidden', `: ${name}`));
  node.addEventListener('click', act);
  return node;
}
async function fillHeld(name, content) {
  const held = await fetch(`collections/${name}.json`).then((reply) => reply.json()).catch(() => ({message: 'The server does not answer.'}));
  if (held.message) return content.replaceChildren(make('p', '', sentence(held)));
  const nodes = [make('p', '', held.pictures)];
  nodes.push(held.classes.length ? tableOf(held) : make('p', '', 'They have no labels: they can be searched, not ranked.'));
  if (held.groups) nodes.push(make('p', '', held.groups));
  if (held.burned_in) nodes.push(make('p', '', held.burned_in));
  nodes.push(make('p', '', held.duplicates));
  if (held.same.length) nodes.push(listOf(held.same.map((names) => names.slice(0, 4).join(', ') + (names.length > 4 ? ' …' : ''))));
  nodes.push(make('p', '', held.left_out.length ? 'Left out:' : 'Nothing was left out.'));
  if (held.left_out.length) nodes.push(listOf(held.left_out.map((each) => `${each.name}: ${each.reason}`)));
  if (held.more_left_out) nodes.push(make('p', '', `And ${held.more_left_out.toLocaleString('en')} more.`));
  content.replaceChildren(...nodes);
}
function tableOf({classes, more_classes: more}) {
  const scroll = make('div', 'mine-scroll'), table = make('table', 'mine-table'), head = make('tr'), body = make('tbody');
  for (const title of ['Class', 'search in', 'ask with', 'set aside']) {
    const cell = make('th', '', title);
    cell.scope = 'col';
    head.append(cell);
  }
  for (const [label, ...counts] of classes) {
    const row = make('tr'), first = make('th', '', label);
    first.scope = 'row';
    row.append(first, ...counts.map((count) => make('td', '', count.toLocaleString('en'))));
    body.append(row);
  }
  const thead = make('thead');
  thead.append(head);
  table.append(make('caption', '', more ? `Pictures of each class, of the first ${classes.length} and ${more} more` : 'Pictures of each class'), thead, body);
  scroll.append(table);
  return scroll;
}
function listOf(lines) {
  const node = make('ul');
  node.append(...lines.map((line) => make('li', '', line)));
  return node;
}

// --- removing --------------------------------------------------------------------------------------------------------

function ask(name) {
  removing = name;
  dialog.querySelector('h3').textContent = `Remove ${name}?`;
  dialog.showModal();
}
async function remove() {
  dialog.close();
  refuse('');
  const no = await steer({do: 'remove', name: removing});
  if (no.message) return refuse(sentence(no));
  say(`${removing} is removed.`);
  window.dispatchEvent(new CustomEvent('collectionremoved', {detail: removing}));
  window.dispatchEvent(new CustomEvent('cellsdone'));   // its rows leave the leaderboard
  await look();
  find('title').focus();
}

function start() {
  const kept = `${props.bounds} The zip is kept as it is, with all that DICOM files in it say, in the cache of the machine that serves this page, for as long as the collection is there, since its pictures are read in it when they are needed; whoever opens the page sees them. Folders and larger archives on that machine are added where they lie: `;
  find('bounds').append(kept, make('code', '', 'python -m retrieval collection add NAME PATH'));
  find('title').tabIndex = -1;
  form.addEventListener('submit', (event) => { event.preventDefault(); begin(); });
  chooser.addEventListener('change', () => { if (chooser.files[0]) choose(chooser.files[0]); });
  nameBox.addEventListener('input', () => { named = true; });
  find('stop').addEventListener('click', stop);
  find('keep').addEventListener('click', () => dialog.close());
  find('danger').addEventListener('click', remove);
  document.addEventListener('dragover', (event) => {
    if (!seen() || ![...event.dataTransfer.types].includes('Files')) return;
    event.preventDefault();
    drop.classList.add('over');
  });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) drop.classList.remove('over'); });
  document.addEventListener('drop', (event) => {
    drop.classList.remove('over');
    const file = event.dataTransfer?.files[0];
    if (!file || !seen()) return;
    event.preventDefault();
    choose(file);
  });
  document.addEventListener('visibilitychange', () => { if (seen()) look(); });
  document.addEventListener('click', (event) => { if (event.target.closest?.('#tabs button[role=tab]')) setTimeout(() => { if (seen()) look(); }, 0); });
  look();
}
start();
