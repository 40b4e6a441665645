// Watches and steers the queue. Runs when its tab is opened for the first time; all text through textContent.
const EVERY = 1500;   // milliseconds between two looks, while something runs and the tab is seen

const find = (name) => element.querySelector('.jobs-' + name);
const form = find('form'), list = find('list'), none = find('none'), said = find('said'), planned = find('plan'), add = find('add');
const choices = Object.fromEntries([...form.elements].map((select) => [select.name, select]));
const drawn = new Map();   // by a job's name: its nodes
let waiting = 0, asked = 0, finished = null, live = false;

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const seen = () => element.offsetParent !== null && !document.hidden;

async function send(words) {
  const sent = {method: 'POST', body: JSON.stringify(words), headers: {'Content-Type': 'application/json'}};
  return fetch('jobs', sent).then((answer) => answer.json()).catch(() => ({message: 'The server does not answer.', remedy: 'Check that it still runs.'}));
}

// --- the queue -------------------------------------------------------------------------------------------------------

function begin(job) {
  const item = make('li', 'jobs-job'), title = make('h3', '', job.title), label = make('p', 'jobs-label');
  const track = make('div', 'jobs-track'), fill = make('div', 'jobs-fill'), words = make('p', 'jobs-words');
  const errors = make('ul', 'jobs-errors'), buttons = make('div', 'jobs-buttons');
  item.dataset.id = job.id;
  track.setAttribute('role', 'progressbar');
  track.setAttribute('aria-label', job.title);
  track.setAttribute('aria-valuemin', '0');
  track.setAttribute('aria-valuemax', '100');
  track.append(fill);
  item.append(title, label, track, words, errors, buttons);
  return {item, label, track, fill, words, errors, buttons, shown: ''};
}
function drawJob(nodes, job) {
  nodes.item.dataset.state = job.state;
  put(nodes.label, job.label);
  put(nodes.words, job.words);
  nodes.fill.style.width = job.percent + '%';
  nodes.track.setAttribute('aria-valuenow', job.percent);
  nodes.errors.hidden = !job.errors.length;
  nodes.errors.replaceChildren(...job.errors.map((error) => make('li', '', error)));
  const shown = JSON.stringify(job.buttons);
  if (nodes.shown === shown) return;   // a button that stays keeps the focus
  const held = nodes.buttons.contains(document.activeElement);
  nodes.shown = shown;
  nodes.buttons.replaceChildren(...job.buttons.map(([what, label]) => button(job, what, label)));
  if (held) nodes.buttons.querySelector('button')?.focus();
}
function button(job, what, label) {
  const node = make('button', 'jobs-button', label);
  node.type = 'button';
  node.dataset.what = what;
  node.append(make('span', 'jobs-hidden', `: ${job.title}`));
  return node;
}
function draw(jobs) {
  for (const [id, nodes] of drawn) if (!jobs.some((job) => job.id === id)) { nodes.item.remove(); drawn.delete(id); }
  jobs.forEach((job, place) => {
    if (!drawn.has(job.id)) drawn.set(job.id, begin(job));
    const nodes = drawn.get(job.id);
    if (list.children[place] !== nodes.item) list.insertBefore(nodes.item, list.children[place] || null);
    drawJob(nodes, job);
  });
  none.hidden = jobs.length > 0;
  put(none, 'No job is queued.');
  live = jobs.some((job) => job.live || job.label.endsWith('…'));
  tell(jobs);
}
// Once for a job that ends, not at every step; and the leaderboard hears of every cell.
let states = null;
function tell(jobs) {
  const now = new Map(jobs.map((job) => [job.id, job.label]));
  if (states) {
    const changed = jobs.filter((job) => states.has(job.id) && states.get(job.id) !== job.label);
    if (changed.length) put(said, changed.map((job) => `${job.title}: ${job.label}.`).join(' '));
  }
  states = now;
  const cells = jobs.reduce((sum, job) => sum + job.finished, 0);
  if (finished !== null && cells !== finished) window.dispatchEvent(new CustomEvent('cellsdone'));
  finished = cells;
}
async function look() {
  clearTimeout(waiting);
  const answer = await fetch('jobs.json').then((reply) => reply.json()).catch(() => null);
  if (answer) draw(answer.jobs);
  clearTimeout(waiting);
  if ((live || !answer) && seen()) waiting = setTimeout(look, EVERY);
}
async function steer(what, id) {
  const answer = await send({do: what, id});
  if (answer.message) put(said, `${answer.message} ${answer.remedy}`);
  look();
}

// --- the form --------------------------------------------------------------------------------------------------------

const words = () => Object.fromEntries(Object.entries(choices).map(([name, select]) => [name, select.value]));
function fillSizes() {
  const [, , sizes] = props.menus.dataset.find(([name]) => name === choices.dataset.value);
  const held = choices.size.value;
  choices.size.replaceChildren(...sizes.map((size) => new Option(size || 'as they are', size)));
  if (sizes.includes(Number(held))) choices.size.value = held;
}
async function ponder() {
  const number = (asked += 1), scope = choices.scope.value;
  for (const [name, hidden] of [['dataset', scope !== 'cell'], ['size', scope !== 'cell'], ['encoder', scope === 'study'], ['protocol', scope === 'study']]) {
    choices[name].closest('label').hidden = hidden;
  }
  add.disabled = true;
  put(planned, 'Counting what is to be done…');
  const answer = await send({do: 'plan', ...words()});
  if (number !== asked) return;
  if (!answer.plan) { put(planned, `${answer.message} ${answer.remedy}`); return; }
  const {to_do, unavailable, more} = answer.plan;
  add.disabled = to_do === 0;
  const lines = [answer.plan.words, ...unavailable, ...(more ? [`And ${more} more reasons.`] : [])];
  planned.replaceChildren(...lines.map((line) => make('p', '', line)));
}
async function queueIt() {
  add.disabled = true;
  const answer = await send({do: 'add', ...words()});
  put(said, answer.message ? `${answer.message} ${answer.remedy}` : 'Queued.');
  add.disabled = false;
  look();
}

// Collections come and go while the page is open; the other datasets stay.
const lasting = props.menus.dataset.filter(([, , , own]) => !own);
async function renewDatasets(chosen) {
  const answer = await fetch('collections.json').then((reply) => reply.json()).catch(() => null);
  if (!answer) return;
  props.menus.dataset = [...lasting, ...answer.collections.map(({name, title, sizes}) => [name, title, sizes])];
  const held = chosen || choices.dataset.value;
  choices.dataset.replaceChildren(...props.menus.dataset.map(([value, title]) => new Option(title, value)));
  if (props.menus.dataset.some(([name]) => name === held)) choices.dataset.value = held;
  fillSizes();
  ponder();
}

function start() {
  form.hidden = planned.hidden = !props.allowed;
  find('bar').hidden = !props.allowed;
  look();
  document.addEventListener('click', (event) => { if (event.target.closest?.('#tabs button[role=tab]')) setTimeout(() => { if (seen()) look(); }, 0); });
  document.addEventListener('visibilitychange', () => { if (seen()) look(); });
  window.addEventListener('jobqueued', look);
  list.addEventListener('click', (event) => {
    const pressed = event.target.closest('button');
    if (pressed) steer(pressed.dataset.what, pressed.closest('li').dataset.id);
  });
  if (!props.allowed) { put(said, props.off); return; }
  for (const name of ['dataset', 'encoder', 'protocol']) for (const [value, title] of props.menus[name]) choices[name].append(new Option(title, value));
  fillSizes();
  choices.dataset.addEventListener('change', fillSizes);
  form.addEventListener('change', ponder);
  form.addEventListener('submit', (event) => event.preventDefault());
  add.addEventListener('click', queueIt);
  ponder();
  renewDatasets();
  window.addEventListener('collectionadded', ({detail}) => renewDatasets(detail));
  window.addEventListener('collectionremoved', () => renewDatasets());
}
start();
