// Small things that the other parts of this script are built of. All text reaches the page through textContent.
const find = (selector) => element.querySelector(selector);
const all = (selector) => [...element.querySelectorAll(selector)];

function make(tag, className = '', text = '') {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function say(selector, text) {
  const node = find(selector);
  node.textContent = text || '';
  if (node.matches('.notice')) node.hidden = !text;
}

// A sentence whose commands stand between backticks.
const coded = (text) => text.split('`').map((part, place) => (place % 2 ? make('code', '', part) : part));

function explain(selector, text) {
  find(selector).replaceChildren(...coded(text));
}

// An img at its true pixels. Of a volume it keeps the address of its slices, and which one has the most to see.
function drawn(figure) {
  const img = make('img');
  img.alt = figure.alt;
  img.width = figure.width;
  img.height = figure.height;
  img.draggable = false;
  if (figure.slices) {
    img.dataset.address = figure.src;
    img.dataset.slices = figure.slices;
    img.dataset.fullest = figure.fullest;
    img.dataset.named = figure.alt;
  }
  img.src = figure.slices ? figure.src.replace('{z}', figure.fullest) : figure.src;
  return img;
}

function fill(select, groups, chosen) {
  const option = ([value, text]) => {
    const node = make('option', '', text);
    node.value = value;
    return node;
  };
  const nodes = groups.map(({name, options}) => {
    if (!name) return options.map(option);
    const group = make('optgroup');
    group.label = name;
    group.append(...options.map(option));
    return [group];
  });
  select.replaceChildren(...nodes.flat());
  if (chosen !== undefined && [...select.options].some((one) => one.value === String(chosen))) select.value = String(chosen);
}
