// The extractors' menu: a combobox whose list is filtered by what is typed, as WAI-ARIA's pattern of that name says.
// What each extractor can do here is asked for when the menu is opened.
const combo = find('.combo');
const box = find('.combo [role=combobox]');
const choice = find('.combo input[name=encoder]');
const popup = find('.combo .popup');
const list = find('.combo [role=listbox]');
const PAGE = 8; // entries that Page Up and Page Down pass
let offered = []; // extractors that take the dataset's items
let known = {}; // what the server says of each, by name
let typed = ''; // what they are filtered by
let fitting = []; // those in the list, in its order
let active = -1; // which of them the arrow keys are on
let knownText = '';

const isOpen = () => !popup.hidden;
const optionId = (one) => `encoder-${one.name}`;
const squeezed = (text) => text.replace(/[^a-z0-9 ]+/g, '');

function offer(extractors, name) {
  offered = extractors;
  choice.value = (offered.find((one) => one.name === name) || offered[0]).name;
  if (!isOpen()) return showChoice();
  drawList(fitting[active]?.name);
  learn();
}

function showChoice() {
  box.value = offered.find((one) => one.name === choice.value)?.title || '';
}

// Every word has to occur, with or without its hyphens and dots.
function fits(one) {
  const domain = menus.domains.find(([key]) => key === one.domain)[1];
  const text = `${one.title} ${one.name} ${domain} ${known[one.name]?.words || ''}`.toLowerCase();
  const texts = `${text} ${squeezed(text)} ${squeezed(one.title.toLowerCase()).replaceAll(' ', '')}`;
  return typed.toLowerCase().split(/\s+/).every((word) => texts.includes(word) || (squeezed(word) && texts.includes(squeezed(word))));
}

function drawList(name) {
  const groups = menus.domains.map(([key, title]) => [title, offered.filter((one) => one.domain === key && fits(one))]);
  fitting = groups.flatMap(([, ones]) => ones);
  const {scrollTop} = list;
  list.replaceChildren(...groups.filter(([, ones]) => ones.length).map(group));
  list.scrollTop = scrollTop;
  list.hidden = !fitting.length;
  sayFitting();
  activate(fitting.findIndex((one) => one.name === name));
}

function sayFitting() {
  const all = offered.length;
  const many = fitting.length === all ? `${all} extractors` : `${fitting.length} of ${all} extractors fit`;
  const said = fitting.length ? many : `No extractor fits “${typed.trim()}”`;
  say('.combo .fit', fitting.length === all ? `${many}. Type to search by name, domain or architecture.` : said);
  say('.combo-said', said);
}

function group([title, ones], place) {
  const heading = make('div', 'combo-heading', title);
  heading.id = `encoder-group-${place}`;
  heading.setAttribute('role', 'presentation');
  const node = make('div', 'combo-group');
  node.setAttribute('role', 'group');
  node.setAttribute('aria-labelledby', heading.id);
  node.append(heading, ...ones.map(option));
  return node;
}

function option(one) {
  const {state = '', said = '', line = '', marks = []} = known[one.name] || {};
  const node = make('div', 'option');
  node.id = optionId(one);
  node.dataset.name = one.name;
  node.setAttribute('role', 'option');
  node.setAttribute('aria-selected', String(one.name === choice.value));
  const badges = make('span', 'option-marks');
  badges.append(...marks.flatMap((mark) => [make('span', 'option-mark', mark), ' ']));
  const parts = [make('span', 'option-title', one.title), make('span', `option-state ${state}`, said), make('span', 'option-line', line), badges];
  node.append(...parts.flatMap((part) => [part, ' ']));
  return node;
}

function activate(place) {
  list.querySelector('.active')?.classList.remove('active');
  active = place;
  const node = fitting[place] && list.querySelector(`#${CSS.escape(optionId(fitting[place]))}`);
  if (!node) return box.removeAttribute('aria-activedescendant');
  node.classList.add('active');
  box.setAttribute('aria-activedescendant', node.id);
  const above = place === 0 ? list.scrollHeight : 34; // the first shows its heading too, others a bit of what is before
  if (node.offsetTop - above < list.scrollTop) list.scrollTop = node.offsetTop - above;
  else if (node.offsetTop + node.offsetHeight + 8 > list.scrollTop + list.clientHeight) {
    list.scrollTop = node.offsetTop + node.offsetHeight + 8 - list.clientHeight;
  }
}

function openMenu() {
  if (isOpen()) return;
  typed = '';
  popup.hidden = false;
  box.setAttribute('aria-expanded', 'true');
  if (narrow.matches) combo.scrollIntoView({block: 'start'});
  makeRoom();
  drawList(choice.value);
  learn();
}

function closeMenu() {
  if (!isOpen()) return;
  popup.hidden = true;
  typed = '';
  box.setAttribute('aria-expanded', 'false');
  box.removeAttribute('aria-activedescendant');
  say('.combo-said', '');
  showChoice();
}

// The list ends above the edge of the window, or above the keyboard on the screen.
function makeRoom() {
  const below = (window.visualViewport?.height || window.innerHeight) - box.getBoundingClientRect().bottom;
  list.style.maxHeight = `${Math.max(200, Math.min(560, below - 60))}px`;
}

async function learn() {
  const {dataset, size, protocol, encoder} = settings();
  const words = new URLSearchParams({dataset, size, protocol, encoder});
  const reply = await fetch(`extractors.json?${words}`).then((response) => (response.ok ? response.text() : '')).catch(() => '');
  if (!reply || reply === knownText || dataset !== controls.dataset.value) return;
  knownText = reply;
  known = JSON.parse(reply).extractors;
  if (isOpen()) drawList(fitting[active]?.name);
}

function choose(name) {
  const other = name !== choice.value;
  choice.value = name;
  closeMenu();
  if (other) choice.dispatchEvent(new Event('change', {bubbles: true}));
}

function move(place) {
  if (!isOpen()) return openMenu();
  if (fitting.length) activate(Math.max(0, Math.min(fitting.length - 1, place)));
}

const KEYS = {
  ArrowDown: () => move(active + 1),
  ArrowUp: () => move(active < 0 ? fitting.length - 1 : active - 1),
  PageDown: () => move(active + PAGE),
  PageUp: () => move(active - PAGE),
  Home: () => move(0),
  End: () => move(fitting.length - 1),
  Enter: () => (fitting[active] ? choose(fitting[active].name) : null),
  Escape: closeMenu,
};

box.addEventListener('keydown', (event) => {
  if (event.key === 'Tab') return closeMenu();
  const act = KEYS[event.key];
  const opens = event.key === 'ArrowDown' || event.key === 'ArrowUp';
  if (!act || event.isComposing || event.ctrlKey || event.metaKey || (!isOpen() && !opens)) return;
  event.preventDefault();
  act();
});
box.addEventListener('input', () => {
  const text = box.value;
  openMenu();
  typed = box.value = text;
  drawList();
  if (typed.trim() && fitting.length) activate(0);
});
box.addEventListener('change', (event) => event.stopPropagation()); // what is typed is no choice yet
box.addEventListener('focus', () => box.select());
box.addEventListener('click', openMenu);
combo.addEventListener('focusout', (event) => {
  if (!combo.contains(event.relatedTarget)) closeMenu();
});
popup.addEventListener('mousedown', (event) => event.preventDefault()); // the focus stays in the field
list.addEventListener('click', (event) => {
  const node = event.target.closest('[role=option]');
  if (node) choose(node.dataset.name);
});
window.visualViewport?.addEventListener('resize', () => {
  if (isOpen()) makeRoom();
});
