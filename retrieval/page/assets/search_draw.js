// Drawing what the server answered.
const cards = find('.cards');
const narrow = window.matchMedia('(max-width: 760px)'); // where the answer lies below what is asked with
let value = {}; // what is shown

function draw(next) {
  if (!next?.kind || (next.run && next.run !== underway)) return;
  if (next.kind === 'working') return drawWorking(next);
  const how = pending || {};
  pending = null;
  idle();
  ended();
  find('.found').dataset.serial = next.serial;
  if (next.kind === 'refusal') {
    say('.status', value.summary);
    return say('.refusal', `${next.message} ${next.remedy}`);
  }
  value = next;
  remember(value);
  drawFrame();
  find('.problem').hidden = value.kind !== 'problem';
  find('.answer').hidden = value.kind !== 'answer';
  if (value.kind === 'problem') return drawProblem(how);
  drawAnswer();
  if (how.focus === 'first card') cards.querySelector('.card')?.focus();
  else if (how.show && narrow.matches) find('.found').scrollIntoView({block: 'start'});
}

function drawFrame() {
  const words = Object.fromEntries(new URLSearchParams(value.address));
  fillMenus(words);
  controls.k.value = words.k;
  if (dataset().grouped) controls.cards.checked = Boolean(words.cards);
  if (document.activeElement !== controls.text) controls.text.value = words.text || '';
  controls.index.value = (words.item || '').startsWith('test-') ? words.item.slice(5) : '';
  say('.now', value.now);
  say('.about', value.about);
  say('.notice', value.notice);
  find('.forget').hidden = !value.token;
  if (value.volume) ownVolume = value.token;
  drawOwn(value.instead);
  drawExtractor(value);
  say('.first-upload', value.first_upload);
}

function drawProblem(how) {
  say('.status', '');
  say('#problem-title', value.title);
  explain('.message', value.message);
  explain('.remedy', value.remedy);
  find('.compute').hidden = !value.compute;
  find('.compute').textContent = value.compute;
  find('.later').hidden = !value.later;
  find('.later').textContent = value.later?.label || '';
  if (value.compute && how.eager) compute();
}

// What takes long is an event of Gradio's, which says how far it is. Only the last one's words are drawn.
let runs = 0;
let underway = 0;

function begin(event, said) {
  pending = {eager: false};
  underway = runs += 1;
  find('.found').setAttribute('aria-busy', 'true');
  for (const button of all('.compute, .later, .fetch')) button.hidden = true;
  find('.stop').hidden = event !== 'download';
  drawWorking({said, fraction: null});
  trigger(event, {words: question, run: underway});
}

function compute() {
  begin('compute', 'Getting ready…');
}

function drawWorking({fraction, said}) {
  const bar = find('.fraction');
  find('.underway').hidden = false;
  if (fraction === null) bar.removeAttribute('value');
  else bar.value = fraction;
  say('.status', said);
}

function ended() {
  underway = 0;
  find('.underway').hidden = true;
}

// Asking for something else stops a download; what came of it is kept.
function leave() {
  if (underway && !find('.stop').hidden) trigger('leave', {});
  ended();
}

function drawAnswer() {
  const {original, seen, title, label, notes} = value.query;
  say('.status', value.summary);
  say('#query-title', title);
  say('.query .label', label);
  say('.notes', notes.join(' '));
  drawVerdict();
  say('#cards-title', value.heading);
  say('.scored', `${value.score} (${value.nearer})`);
  find('.asked').classList.toggle('by-phrase', !original); // of words there is no picture to show or compare
  find('.views').hidden = !original;
  cards.classList.toggle('marked', value.cards.some((hit) => hit.mark || hit.duplicate));
  cards.replaceChildren(...value.cards.map(card)); // first, so that their pictures are fetched first
  for (const [name, figure] of original ? [['original', original], ['seen', seen]] : []) {
    find(`.${name} .frame`).replaceChildren(drawn(figure));
    say(`.${name} figcaption span`, figure.size);
  }
  drawSlices(value);
  drawFoot();
}

function drawVerdict() {
  say('.vote', value.vote.sentence);
  find('.tally').replaceChildren(...value.vote.rows.map(tally));
  say('.reliability', value.reliability);
  say('.nearness', value.nearness);
  find('.nearness').classList.toggle('beyond', value.beyond);
}

function tally({label, said, share, gallery}) {
  const row = make('li');
  const bar = make('span', 'bar');
  bar.setAttribute('aria-hidden', 'true');
  const filled = make('span', 'filled');
  filled.style.width = `${share}%`;
  const tick = make('span', 'tick');
  tick.style.left = `${gallery}%`;
  bar.append(filled, tick);
  row.append(make('span', 'name', label), make('span', 'said', said), bar);
  return row;
}

const SHAPES = {same: '✔', other: '✖'};

function card(hit, place) {
  const button = make('button', `card ${hit.mark ? hit.mark.kind : ''}`);
  button.type = 'button';
  const text = make('span', 'text');
  const name = make('span', 'name');
  name.append(make('span', 'rank', `${hit.rank}`), ' ', make('span', 'label', hit.label));
  text.append(name, make('span', 'score', `${value.score} ${hit.score}`));
  if (hit.mark) text.append(badge(`mark ${hit.mark.kind}`, SHAPES[hit.mark.kind], hit.mark.words));
  if (hit.duplicate) text.append(badge('duplicate', '≈', hit.duplicate));
  const frame = make('span', 'frame');
  frame.append(drawn(hit.figure));
  button.append(frame, text, make('span', 'hidden-text', '. Search again from this one'));
  button.addEventListener('click', () => askFrom(hit));
  const side = make('button', 'plain compare-button', 'Compare');
  side.type = 'button';
  side.append(make('span', 'hidden-text', ` the query with neighbour ${hit.rank}`));
  side.hidden = !value.query.original;
  side.addEventListener('click', () => openCompare(place));
  const item = make('li');
  item.append(button, side);
  return item;
}

function badge(className, shape, text) {
  const node = make('span', `badge ${className}`);
  const sign = make('span', 'shape', shape);
  sign.setAttribute('aria-hidden', 'true');
  node.append(sign, ` ${text}`);
  return node;
}

// A card is a picture of the answer shown, whatever the menus say while another is on its way, or was refused.
function askFrom(hit) {
  const {item, upload, text, ...shown} = question;
  ask({...shown, item: `${hit.split}-${hit.index}`, v: value.version}, {eager: true, focus: 'first card'});
}

function drawFoot() {
  const line = find('.line');
  const [before, after] = value.line;
  line.replaceChildren(before, make('strong', value.unverified ? 'unverified' : '', value.standing), after);
  say('.sharing', value.sharing);
  find('a.csv').href = value.files.csv;
  find('a.png').href = value.files.png;
}

find('.compute').addEventListener('click', compute);
find('.later').addEventListener('click', async () => {
  const refused = await window.queueCell(value.later.cell);
  if (refused) say('.status', refused);
});
find('.stop').addEventListener('click', () => ask(question, {history: 'replace'}));
find('.copy').addEventListener('click', async () => {
  const url = new URL(window.location);
  try {
    await navigator.clipboard.writeText(url.href);
    say('.sharing', `Link copied. ${value.sharing}`);
  } catch {
    say('.sharing', `Copy the address from the browser's bar. ${value.sharing}`);
  }
});

// The query and one neighbour, side by side and larger. Closing gives the focus back to where it was.
const dialog = find('.compare');
let compared = 0;

function openCompare(place) {
  showCompared(place);
  dialog.showModal();
}

function showCompared(place) {
  compared = (place + value.cards.length) % value.cards.length;
  const hit = value.cards[compared];
  const {title, label, original} = value.query;
  say('#compare-title', `${title} and neighbour ${hit.rank}`);
  find('.left .frame').replaceChildren(drawn(original));
  find('.right .frame').replaceChildren(drawn({...hit.figure, alt: `Neighbour ${hit.rank}`}));
  say('.left figcaption', [title, label, original.size].filter(Boolean).join(' · '));
  const marks = [hit.mark?.words, hit.duplicate];
  say('.right figcaption', [`Neighbour ${hit.rank}`, hit.label, `${value.score} ${hit.score}`, ...marks, hit.figure.size].filter(Boolean).join(' · '));
  if (value.slices) showSlice(shown);
}

find('.previous').addEventListener('click', () => showCompared(compared - 1));
find('.next').addEventListener('click', () => showCompared(compared + 1));
find('.again').addEventListener('click', () => {
  dialog.close();
  askFrom(value.cards[compared]);
});
find('.close').addEventListener('click', () => dialog.close());
dialog.addEventListener('click', (event) => {
  if (event.target === dialog) dialog.close();
});
