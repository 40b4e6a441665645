// What is asked: the menus and the query, as the words that the address holds too. The server checks every one of them.
const menus = props.menus;
const controls = Object.fromEntries(all('select[name], input[name]').map((node) => [node.name, node]));
let question = {}; // the words of what is shown
let pending = null; // how the question on its way was asked
let asked = 0; // how many questions were sent; only the answer to the last one is drawn
let slow = 0;
let shownSearch = ''; // the address and the words of what is shown
let shownWords = '';
let ownVolume = ''; // the upload that a dataset of volumes can be asked with too

const dataset = () => menus.datasets.find((one) => one.name === controls.dataset.value);

function settings() {
  const {dataset, encoder, size, protocol, k, cards} = controls;
  const grouped = cards.checked && menus.datasets.find((one) => one.name === dataset.value).grouped;
  return {dataset: dataset.value, encoder: encoder.value, size: size.value, protocol: protocol.value, k: k.value, ...(grouped && {cards: cards.value})};
}

// `how`: history (push, replace, keep), address (words that came from a link), eager (compute what is missing at once),
// focus (where the focus goes when the answer is there), show (bring the answer into view on a narrow screen).
// A plain request takes a fraction of the time of one of Gradio's events.
async function ask(words, how = {}) {
  leave();
  pending = how;
  say('.refusal', '');
  busy(how.said || 'Searching…');
  const number = (asked += 1);
  const body = JSON.stringify({words, history: how.history || 'push', address: Boolean(how.address)});
  const sent = {method: 'POST', body, headers: {'Content-Type': 'application/json'}};
  const reply = await fetch('ask', sent).then((response) => response.json()).catch(() => ({
    kind: 'refusal', message: 'The server does not answer.', remedy: 'Check that it still runs, then try again.',
  }));
  if (number === asked) draw(reply);
}

function busy(text) {
  find('.found').setAttribute('aria-busy', 'true');
  clearTimeout(slow);
  slow = setTimeout(() => say('.status', text), 400);
}

function idle() {
  clearTimeout(slow);
  find('.found').removeAttribute('aria-busy');
}

function query() {
  const {item, upload, text} = question;
  if (text && takesWords()) return {text};
  if (upload && (dataset().ndim === 2 || upload === ownVolume)) return {upload};
  return item && question.dataset === controls.dataset.value ? {item} : {sample: ''};
}

function fillMenus(words) {
  if (value.collections) menus.datasets = [...menus.datasets.filter((one) => !one.own), ...value.collections];
  const own = menus.datasets.filter((one) => one.own).map((one) => [one.name, one.title]);
  const named = (ndim) => menus.datasets.filter((one) => one.ndim === ndim && !one.own).map((one) => [one.name, one.title]);
  fill(controls.dataset, [
    {name: 'Pictures (2D)', options: named(2)},
    {name: 'Volumes (3D)', options: named(3)},
    ...(own.length ? [{name: 'Your own', options: own}] : []),
  ], words.dataset);
  const listed = !words.protocol || menus.protocols.some(([name]) => name === words.protocol);
  const protocols = listed ? menus.protocols : [...menus.protocols, [words.protocol, words.protocol]]; // pca-64, by a link
  fill(controls.protocol, [{options: protocols}], words.protocol);
  fillFitting(words);
}

// Only what fits the dataset is offered.
function fillFitting(words) {
  const data = dataset();
  const shown = value.extractor?.offered;
  const listed = !shown || shown.name !== words.encoder || menus.encoders.some((one) => one.name === shown.name);
  const encoders = listed ? menus.encoders : [...menus.encoders, shown]; // in another precision, by a link
  offer(encoders.filter((one) => one.takes.includes(data.ndim)), words.encoder);
  const side = (size) => (!size ? 'as they are' : data.ndim === 3 ? `${size} × ${size} × ${size}` : `${size} × ${size}`);
  fill(controls.size, [{options: data.sizes.map((size) => [size, side(size)])}], words.size);
  const any = [['', 'Any class'], ...data.classes.map((name, label) => [label, name])];
  fill(controls.label, [{options: any}], controls.label.dataset.of === data.name ? controls.label.value : '');
  controls.label.dataset.of = data.name;
  controls.index.max = data.test - 1;
  find('.per-group').hidden = !data.grouped;
  controls.index.placeholder = `0 to ${data.test - 1}`;
  const noun = data.ndim === 3 ? 'volume' : 'picture';
  say('#sample-heading', `Ask with a test ${noun}`);
  say('#upload-heading', `Ask with your own ${noun}`);
  say('.drop strong', `Choose a ${noun}`);
  say('.forget', `Forget this ${noun}`);
  say('.kinds', menus.kinds[data.ndim]);
  drawOwn('');
  drawPhrase();
}

// Asking with a picture of one's own, or a sentence that says why that cannot be.
function drawOwn(instead) {
  find('.own').hidden = Boolean(instead);
  find('.instead').hidden = !instead;
  explain('.instead', instead);
}

function changed(event) {
  if (event.target === controls.dataset) fillFitting({...settings(), ...(dataset().own && {size: '0'})});
  if (!controls.k.checkValidity()) return say('.refusal', 'Ask for 1 to 20 neighbours.');
  ask({...settings(), ...query()});
}

find('.options').addEventListener('submit', (event) => event.preventDefault());
find('.menus').addEventListener('change', changed);
controls.cards.addEventListener('change', changed);
find('#sample').addEventListener('click', () => {
  ask({...settings(), sample: controls.label.value}, {eager: true, show: true});
});
find('.by-number').addEventListener('submit', (event) => {
  event.preventDefault();
  ask({...settings(), item: `test-${controls.index.value}`}, {eager: true, show: true});
});
find('.toggle').addEventListener('click', () => {
  const open = find('.options').classList.toggle('open');
  find('.toggle').setAttribute('aria-expanded', String(open));
});

// The address always says what is shown; Back and Forward ask again without a new entry.
function remember(value) {
  question = Object.fromEntries(new URLSearchParams(value.private));
  if (value.history !== 'keep') writeAddress(value);
  shownSearch = window.location.search;
  shownWords = value.private;
}

function writeAddress(value) {
  const url = new URL(window.location);
  const kept = [...url.searchParams].filter(([name]) => ['tab', 'board'].includes(name) || name.startsWith('__'));
  url.search = new URLSearchParams([...new URLSearchParams(value.address), ...kept]);
  const same = url.href === window.location.href && history.state?.words === value.private;
  if (value.history === 'push' && !same) history.pushState({words: value.private}, '', url);
  else history.replaceState({words: value.private}, '', url);
}

window.addEventListener('popstate', (event) => {
  const same = window.location.search === shownSearch;
  const words = event.state?.words || (same ? shownWords : window.location.search);
  if (words !== shownWords) ask(Object.fromEntries(new URLSearchParams(words)), {history: 'keep', address: true});
  else if (!event.state) history.replaceState({words}, ''); // only another place on this page
});
