// Draws the leaderboard: one windowed table, all text through textContent. Runs when its tab is opened for the first time.
const ROW = 46;        // height of a row in CSS pixels; leaderboard.css says the same
const HEAD = 70;       // the headings and a scroll bar
const OVERSCAN = 14;   // rows drawn above and below what is seen
const NARROW = matchMedia('(max-width: 480px)').matches;
const FILTERS = ['dataset', 'size', 'encoder', 'protocol', 'source'];
const COUNTED = ['mMV@5', 'ACC@1', 'ACC@3', 'ACC@5'];   // the order of a difference in hits

const find = (name) => element.querySelector('.board-' + name);
const scroller = find('scroller'), head = find('head'), body = find('body'), columnsOf = find('cols');
const status = find('status'), hint = find('hint'), csv = find('csv'), reset = find('reset'), dialog = find('dialog');
const choices = Object.fromEntries([...FILTERS, 'reading', 'metrics'].map((name) => [name, element.querySelector(`select[name="${name}"]`)]));

let data = null, version = null, columns = [], shown = [], first = -1, sort = {id: '', down: true};

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
const hidden = (text) => make('span', 'board-hidden', text);
const signed = (n) => n > 0 ? '+' + n : n < 0 ? '\u2212' + -n : '0';
const number = (x, digits) => x < 0 ? '\u2212' + (-x).toFixed(digits) : x.toFixed(digits);

// --- what a row says -------------------------------------------------------------------------------------------------

const title = (kind, name) => (kind === 'size' ? sized(name) : (data.titles[kind] || {})[name] || String(name));
const sized = (size) => (size ? String(size) : 'as they are'); // a collection's pictures
const figures = (row, reading) => reading === 'left' ? row.left : row.all;
function value(row, column) {
  const read = figures(row, column.reading);
  return read ? read.value[column.index] ?? null : null;
}
function interval(read, index) {
  return read.low[index] === null || read.low[index] === undefined
    ? '' : `(${read.low[index].toFixed(1)}\u2013${read.high[index].toFixed(1)})`;
}
function hits(read, row, index) {
  return read.hits[index] === null || read.hits[index] === undefined ? '' : `${read.hits[index]} of ${row.n}`;
}
const counts = (row) => COUNTED.map((name) => row.difference[name]).filter((n) => n !== undefined);
function difference(row) {
  const all = counts(row);
  return all.every((n) => n === 0) ? '0' : COUNTED.map((name) => row.difference[name] === undefined ? '?' : signed(row.difference[name])).join(' ');
}
function spoken(row) {
  return COUNTED.map((name) => `${name} ${row.difference[name] === undefined ? 'not known' : signed(row.difference[name])}`).join(', ');
}
const extractor = (row) => data.extractors?.[row.encoder] || {};
function marks(row) {
  const list = [], readings = readingsShown().map((reading) => figures(row, reading)).filter(Boolean);
  const below = [...new Set(readings.flatMap((read) => read.below))].map((index) => data.metrics[index].name);
  if (below.length) list.push(['below', '\u2264 majority', `Does not beat always answering the most common class: ${below.join(', ')}.`]);
  const overlap = extractor(row).overlaps?.[row.dataset];
  if (overlap) list.push(['overlap', 'overlap', `Its training contains, or may contain, pictures of this dataset: ${overlap}`]);
  if (row.verified === false) list.push(['plain', 'unverified', 'The data or the weights are not the known files.']);
  if (!row.ranked) list.push(['plain', 'not ranked', 'Several findings per picture: its accuracy is shown, never ranked by.']);
  if (row.note) list.push(['plain', 'note', row.note]);
  return list;
}

// --- columns ---------------------------------------------------------------------------------------------------------

const readingsShown = () => choices.reading.value === 'both' ? ['all', 'left'] : [choices.reading.value];

function metricColumn(index, reading, both) {
  const metric = data.metrics[index];
  return {
    id: reading + ':' + metric.name, label: metric.name, sub: both ? (reading === 'all' ? 'as published' : 'duplicates left out') : '',
    about: metric.about, width: both ? 112 : 98, index, reading, metric, down: !metric.lower, numeric: true,
    key: (row) => row.ranked || !metric.accuracy ? value(row, {index, reading}) : null, cell: metricCell,
  };
}
// What a filter has fixed needs no column.
function layOut() {
  const both = choices.reading.value === 'both', wanted = choices.metrics.value;
  const indexes = data.metrics.map((_, i) => i).filter((i) => wanted === 'all' || data.metrics[i].study === (wanted === 'study'));
  columns = [
    {id: 'encoder', label: 'Extractor', about: 'What turns a picture into a vector. A click on its name shows all numbers of the row.', width: NARROW ? 128 : 186, key: (row) => title('encoder', row.encoder), cell: nameCell},
    !choices.dataset.value && {id: 'dataset', label: 'Dataset', about: 'The test pictures are the queries, the training pictures are searched.', width: 126, key: (row) => title('dataset', row.dataset), cell: text((row) => title('dataset', row.dataset))},
    !choices.size.value && {id: 'size', label: 'Size', about: 'Pixels along one side.', width: 60, key: (row) => row.size, cell: text((row) => sized(row.size)), numeric: true},
    ...indexes.flatMap((index) => readingsShown().map((reading) => metricColumn(index, reading, both))),
    {id: 'source', label: 'Source', about: 'Measured here, published by the study, or a baseline that looks at no picture.', width: 92, key: (row) => title('source', row.source), cell: text((row) => title('source', row.source))},
    {id: 'protocol', label: 'Protocol', about: 'How vectors are compared. Baselines do not depend on it.', width: 168, key: (row) => row.protocol, cell: text((row) => row.protocol ?? '')},
    {id: 'difference', label: 'Hits vs study', about: 'Measured minus published, in right answers: ' + COUNTED.join(', ') + '. 0 means equal in all four.', width: 134, key: (row) => row.difference ? Math.max(0, ...counts(row).map(Math.abs)) : null, cell: differenceCell, down: true},
    {id: 'marks', label: 'Marks', about: 'What to know before trusting the row.', width: 150, key: (row) => marks(row).map((mark) => mark[1]).join() || null, cell: marksCell},
    {id: 'search', label: 'Search', about: 'Search pictures with this extractor.', width: 78, cell: searchCell},
  ].filter(Boolean);
  if (!columns.some((column) => column.id === sort.id)) sort = {id: '', down: true};
}
const text = (say) => (cell, row) => { cell.textContent = say(row); };

function nameCell(cell, row) {
  const [, name, more] = title('encoder', row.encoder).match(/^(.*?)(?: \((.*)\))?$/);
  const button = make('button', 'board-name', name);
  button.type = 'button';
  button.append(hidden(', all numbers of this row'));
  cell.append(button);
  if (more) cell.append(make('span', 'board-small', more));
}
function metricCell(cell, row, column) {
  const read = figures(row, column.reading), shownValue = value(row, column);
  if (shownValue === null) return;
  const line = make('span', 'board-value', number(shownValue, 2));
  if (read.below.includes(column.index)) {
    cell.classList.add('board-below');
    line.append(make('span', 'board-sign', ' \u25bd'), hidden(' does not beat the majority class'));
  } else if (column === leading() && row.ranked && read.near.includes(column.index)) {
    cell.classList.add('board-near');
    line.append(make('span', 'board-sign', ' \u2248'), hidden(' best, or not separable from the best'));
  }
  cell.append(line, make('span', 'board-small', interval(read, column.index)));
  const counted = hits(read, row, column.index);
  if (counted) cell.title = `${counted} queries`;
}
function differenceCell(cell, row) {
  if (!row.difference) return;
  cell.append(make('span', 'board-value', difference(row)));
  cell.title = spoken(row);
  cell.append(hidden(' (' + spoken(row) + ')'));
}
function marksCell(cell, row) {
  for (const [kind, label, about] of marks(row)) {
    const mark = make('span', 'board-mark board-mark-' + kind, label);
    mark.title = about;
    mark.append(hidden(': ' + about + ' '));
    cell.append(mark);
  }
}
function searchCell(cell, row) {
  if (row.searchable) cell.append(searchLink(row, 'Search'));
}
function searchLink(row, label) {
  const link = make('a', 'board-link', label);
  const query = {dataset: row.dataset, size: row.size, encoder: row.encoder, protocol: row.protocol};
  link.href = '?' + new URLSearchParams(query);
  link.append(hidden(` ${title('dataset', row.dataset)} ${sized(row.size)} with ${title('encoder', row.encoder)}`));
  return link;
}

// --- the table -------------------------------------------------------------------------------------------------------

// The column whose best rows are marked: the sorted one, or ACC@1 while the table is in its own order.
function leading() {
  return columns.find((column) => column.id === sort.id && column.metric) || columns.find((column) => column.metric?.name === 'ACC@1');
}
function drawHead() {
  columnsOf.replaceChildren(...columns.map((column) => {
    const col = make('col');
    col.style.width = column.width + 'px';
    return col;
  }));
  element.querySelector('.board-table').style.width = `max(100%, ${columns.reduce((sum, column) => sum + column.width, 0)}px)`;
  head.replaceChildren(...columns.map((column) => {
    const cell = make('th', column.numeric ? 'board-number' : '');
    cell.scope = 'col';
    if (!column.key) { cell.textContent = column.label; return cell; }
    const sorted = column.id === sort.id;
    cell.setAttribute('aria-sort', sorted ? (sort.down ? 'descending' : 'ascending') : 'none');
    const button = make('button', 'board-sort', column.label);
    button.type = 'button';
    button.title = column.about;
    button.dataset.id = column.id;
    const arrow = make('span', 'board-arrow', sorted ? (sort.down ? '\u25bc' : '\u25b2') : '\u21c5');
    arrow.setAttribute('aria-hidden', 'true');
    button.append(arrow);
    if (column.sub) button.append(make('span', 'board-small', column.sub));
    cell.append(button);
    return cell;
  }));
}
function drawRow(row, position) {
  const line = make('tr', row.source === 'baseline' ? 'board-baseline' : '');
  line.setAttribute('aria-rowindex', position + 2);
  line.dataset.position = position;
  columns.forEach((column, i) => {
    const cell = make(i ? 'td' : 'th', column.numeric ? 'board-number' : '');
    if (!i) cell.scope = 'row';
    column.cell(cell, row, column);
    line.append(cell);
  });
  return line;
}
function spacer(rows) {
  const line = make('tr', 'board-spacer'), cell = make('td');
  line.setAttribute('aria-hidden', 'true');
  cell.colSpan = columns.length;
  cell.style.height = rows * ROW + 'px';
  line.append(cell);
  return line;
}
function drawWindow(force) {
  const seen = Math.ceil(scroller.clientHeight / ROW), top = Math.floor(scroller.scrollTop / ROW);
  const start = Math.max(0, Math.min(top - OVERSCAN, shown.length - seen - OVERSCAN));
  if (!force && Math.abs(start - first) < OVERSCAN / 2) return;
  first = start;
  const end = Math.min(shown.length, start + seen + 2 * OVERSCAN);
  const held = document.activeElement?.closest?.('.board-body tr'), tag = held && document.activeElement.tagName;
  const rows = shown.slice(start, end).map((row, i) => drawRow(row, start + i));
  body.replaceChildren(spacer(start), ...rows, spacer(shown.length - end));
  if (held) body.querySelector(`tr[data-position="${held.dataset.position}"] ${tag}`)?.focus({preventScroll: true});
}
const collator = new Intl.Collator('en', {numeric: true});
function compare(a, b, down) {
  const missing = (a === null) - (b === null);
  if (missing || a === null) return missing;   // what is missing comes last, whichever way is sorted
  const order = typeof a === 'number' ? a - b : collator.compare(a, b);
  return down ? -order : order;
}
function refresh() {
  layOut();
  const wanted = FILTERS.map((name) => choices[name].value);
  const passes = (row) => FILTERS.every((name, i) => !wanted[i] || String(row[name]) === wanted[i] || (name === 'protocol' && row.protocol === null));
  const column = columns.find((one) => one.id === sort.id);
  const rows = data.rows.filter(passes);
  if (column) {
    const keyed = rows.map((row) => [column.key(row), row]);
    keyed.sort((a, b) => compare(a[0], b[0], sort.down));
    shown = keyed.map((pair) => pair[1]);
  } else shown = rows;
  scroller.style.height = HEAD + shown.length * ROW + 'px';   // at most: the style sheet has the limits
  scroller.scrollTop = 0;
  drawHead();
  drawWindow(true);
  tell(wanted, column);
  remember();
}
function tell(wanted, column) {
  const order = column ? `, sorted by ${column.label}${column.sub ? ' ' + column.sub : ''}, ${sort.down ? 'highest' : 'lowest'} first` : '';
  status.textContent = `${shown.length} of ${data.rows.length} rows${order}`;
  const mixed = column?.metric && new Set(shown.map((row) => row.dataset + row.size)).size > 1;
  hint.textContent = !shown.length ? 'No row fits these filters.'
    : mixed ? 'Numbers of different datasets or sizes cannot be ranked against each other: choose one of each.' : '';
  find('table').setAttribute('aria-rowcount', shown.length + 1);
  const asked = new URLSearchParams(FILTERS.map((name, i) => [name, wanted[i]]).filter((pair) => pair[1]));
  csv.href = props.csv_url + (asked.size ? '?' + asked : '');
  reset.disabled = !sort.id && Object.values(choices).every((select) => select.selectedIndex === 0);
}
// What is chosen is part of the address, so that a link shows the same rows.
function remember() {
  const chosen = new URLSearchParams(Object.entries(choices).filter(([, select]) => select.selectedIndex > 0).map(([name, select]) => [name, select.value]));
  if (sort.id) chosen.set('sort', (sort.down ? '-' : '') + sort.id);
  const url = new URL(window.location);
  if (chosen.size) url.searchParams.set('board', chosen); else url.searchParams.delete('board');
  if (url.href !== window.location.href) history.replaceState(history.state, '', url);
}
function recall() {
  const chosen = new URLSearchParams(new URLSearchParams(window.location.search).get('board') || '');
  for (const [name, select] of Object.entries(choices)) {
    if ([...select.options].some((option) => option.value === chosen.get(name))) select.value = chosen.get(name);
  }
  const by = chosen.get('sort') || '';
  sort = {id: by.replace(/^-/, ''), down: by.startsWith('-')};
}
function sortBy(id) {
  const column = columns.find((one) => one.id === id), starts = Boolean(column.down);
  sort = sort.id !== id ? {id, down: starts} : sort.down === starts ? {id, down: !starts} : {id: '', down: true};
  refresh();
  head.querySelector(`button[data-id="${CSS.escape(id)}"]`)?.focus({preventScroll: true});
}

// --- all numbers of one row ------------------------------------------------------------------------------------------

function details(row) {
  dialog.row = row;
  dialog.querySelector('h3').textContent = `${title('encoder', row.encoder)} on ${title('dataset', row.dataset)}, ${row.size ? `${row.size} pixels` : sized(row.size)}`;
  const about = [title('source', row.source), row.protocol ? 'protocol ' + row.protocol : '', `${row.n} queries`];
  if (row.verified !== null) about.push(row.verified ? 'verified' : 'unverified');
  if (row.grouped !== null) about.push(`${row.grouped} queries have a duplicate in the gallery`);
  dialog.querySelector('.board-about').textContent = about.filter(Boolean).join(' \u00b7 ');
  dialog.querySelector('tbody').replaceChildren(...data.metrics.map((metric, index) => detail(row, metric, index)).filter(Boolean));
  dialog.querySelector('.board-more').replaceChildren(...remarks(row));
  dialog.showModal();
  offerToCompute(row);
}
// A published row whose cell was not measured here: what that would take, where it can be done.
async function offerToCompute(row) {
  const same = (other) => ['dataset', 'size', 'encoder', 'protocol'].every((name) => other[name] === row[name]);
  if (row.source !== 'published' || !row.searchable || !props.queueing || data.rows.some((other) => other.source === 'measured' && same(other))) return;
  const cell = {scope: 'cell', dataset: row.dataset, size: String(row.size), encoder: row.encoder, protocol: row.protocol};
  const sent = {method: 'POST', body: JSON.stringify({do: 'plan', ...cell}), headers: {'Content-Type': 'application/json'}};
  const {plan} = await fetch('jobs', sent).then((answer) => answer.json()).catch(() => ({}));
  const line = make('p', 'board-offer');
  if (!plan) return;
  if (!plan.to_do) line.textContent = `Not computed yet. ${plan.unavailable[0] || ''}`;
  else {
    const button = make('button', 'board-button', `Not computed yet: compute, about ${plan.time}`);
    button.type = 'button';
    button.addEventListener('click', async () => {
      const refused = await window.queueCell(cell);
      if (refused) line.textContent = refused; else dialog.close();
    });
    line.append(button);
  }
  if (dialog.open && dialog.row === row) dialog.querySelector('.board-more').append(line);
}
function detail(row, metric, index) {
  const reads = [row.all, row.left];
  if (reads.every((read) => (read?.value[index] ?? null) === null)) return null;
  const line = make('tr'), name = make('th', '', metric.name);
  name.scope = 'row';
  name.title = metric.about;
  line.append(name);
  for (const read of reads) {
    const cell = make('td', 'board-number'), known = read && (read.value[index] ?? null) !== null;
    if (known) {
      cell.append(make('span', 'board-value', number(read.value[index], 2)));
      for (const more of [interval(read, index), hits(read, row, index)]) if (more) cell.append(make('span', 'board-small', more));
    }
    line.append(cell);
  }
  return line;
}
function remarks(row) {
  const list = marks(row).map((mark) => make('p', '', `${mark[1]}: ${mark[2]}`));
  if (row.difference) list.push(make('p', '', `Measured minus published, in hits: ${spoken(row)}.`));
  const {study, unverified = []} = extractor(row);
  if (study) list.push(make('p', '', `Compared with the study: ${study}`));
  if (unverified.length) list.push(make('p', '', `Not verified of this extractor: ${unverified.join(' ')}`));
  if (row.searchable) { const line = make('p'); line.append(searchLink(row, 'Search with this')); list.push(line); }
  return list;
}

// --- filling and wiring ----------------------------------------------------------------------------------------------

function fillFilters() {
  for (const name of FILTERS) {
    const values = [...new Set(data.rows.map((row) => row[name]))].filter((one) => one !== null);
    if (name === 'size') values.sort((a, b) => a - b);
    if (name === 'encoder') values.sort((a, b) => collator.compare(title(name, a), title(name, b)));
    const held = choices[name].value;
    choices[name].replaceChildren(choices[name].options[0], ...values.map((one) => new Option(title(name, one), one)));
    choices[name].value = held;
  }
  find('explained').replaceChildren(...data.metrics.flatMap((metric) => [make('dt', '', metric.name), make('dd', '', metric.about)]));
  choices.metrics.closest('label').hidden = data.metrics.every((metric) => metric.study);
}
function openAbout(event) {
  const tab = [...document.querySelectorAll('button[role="tab"]')].find((one) => one.textContent.trim() === 'About');
  if (!tab) return;
  event.preventDefault();
  tab.click();
  setTimeout(() => document.getElementById('about-metrics')?.scrollIntoView(), 150);
}
function wire() {
  for (const name of Object.keys(choices)) choices[name].addEventListener('change', refresh);
  head.addEventListener('click', (event) => { const button = event.target.closest('.board-sort'); if (button) sortBy(button.dataset.id); });
  body.addEventListener('click', (event) => {
    const button = event.target.closest('.board-name');
    if (button) details(shown[Number(button.closest('tr').dataset.position)]);
  });
  scroller.addEventListener('scroll', () => drawWindow(false), {passive: true});
  reset.addEventListener('click', () => { for (const select of Object.values(choices)) select.selectedIndex = 0; sort = {id: '', down: true}; refresh(); choices.dataset.focus(); });
  dialog.querySelector('.board-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  element.querySelector('.board-to-about').addEventListener('click', openAbout);
}
async function load() {
  try {
    const answer = await fetch(props.url);
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error ? `${said.error.message} ${said.error.remedy}` : 'The server answered ' + answer.status + '.');
    version = answer.headers.get('ETag');
    data = said;
  } catch (error) {
    status.textContent = `The leaderboard could not be loaded. ${error.message}`;
    return;
  }
  fillFilters();
  recall();
  wire();
  refresh();
  element.querySelector('.board').dataset.ready = 'yes';
}
// A job may have computed a row meanwhile. Where a person is in the table stays.
async function renew() {
  if (!data || !element.offsetParent) return;
  const answer = await fetch(props.url).catch(() => null);
  if (!answer?.ok || answer.headers.get('ETag') === version) return;
  version = answer.headers.get('ETag');
  data = await answer.json();
  const top = scroller.scrollTop;
  fillFilters();
  refresh();
  scroller.scrollTop = top;
}
document.addEventListener('click', (event) => { if (event.target.closest?.('#tabs button[role=tab]')) setTimeout(renew, 0); });
window.addEventListener('cellsdone', renew);
load();
