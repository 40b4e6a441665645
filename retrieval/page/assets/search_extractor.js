// What is known of the chosen extractor, and how to get its weights where they are not at hand.
function link({text, url}) {
  if (!url) return text;
  const node = make('a', '', text);
  node.href = url;
  node.target = '_blank'; // what is asked here stays
  node.rel = 'noopener noreferrer';
  return node;
}

function drawExtractor({extractor, getting, kind}) {
  const {before, licence, after, overlap, unverified, study} = extractor;
  find('.facts').replaceChildren(before, link(licence), after);
  say('.known .study', study && `Compared with the study: ${study}`);
  for (const node of all('.overlap')) {
    node.hidden = !overlap;
    node.textContent = overlap;
  }
  drawUnverified(unverified);
  find('.problem').classList.toggle('calm', Boolean(getting));
  find('.problem .getting').hidden = !(getting && kind === 'problem');
  find('.more').hidden = !(getting && kind === 'answer');
  for (const node of all('.getting')) node.replaceChildren();
  if (getting) find(kind === 'problem' ? '.problem .getting' : '.more .getting').replaceChildren(...wayTo(getting, kind));
}

function drawUnverified(sentences) {
  const node = find('.known .unverified');
  node.hidden = !sentences.length;
  node.open = false;
  const many = sentences.length === 1 ? '1 fact about this extractor was not verified' : `${sentences.length} facts about this extractor were not verified`;
  node.querySelector('summary').textContent = many;
  node.querySelector('ul').replaceChildren(...sentences.map((sentence) => make('li', '', sentence)));
}

function wayTo(getting, kind) {
  const {trouble, now, rows, steps, command, own, download} = getting;
  const nodes = [];
  if (trouble) {
    const said = make('p', 'trouble');
    said.setAttribute('role', 'alert');
    said.append(...coded(trouble));
    nodes.push(said);
  }
  if (kind === 'answer') nodes.push(make('p', 'now', now));
  nodes.push(definitions(rows));
  if (download) nodes.push(fetchButton(download));
  nodes.push(...steps.map((step) => sentence(step)));
  if (command) nodes.push(commandLine(command));
  nodes.push(sentence(own));
  return nodes;
}

function definitions(rows) {
  const node = make('dl');
  for (const row of rows) {
    const text = make('dd');
    text.append(link(row));
    node.append(make('dt', '', row.name), text);
  }
  return node;
}

function sentence(text) {
  const node = make('p');
  node.append(...coded(text));
  return node;
}

function fetchButton(text) {
  const button = make('button', 'primary fetch', text);
  button.type = 'button';
  button.addEventListener('click', () => begin('download', 'Connecting…'));
  return button;
}

function commandLine(command) {
  const row = make('div', 'command');
  const button = make('button', 'plain', 'Copy');
  button.type = 'button';
  button.append(make('span', 'hidden-text', ' the command'));
  button.addEventListener('click', async () => {
    const done = await navigator.clipboard.writeText(command).then(() => true, () => false);
    button.firstChild.textContent = done ? 'Copied' : 'Select it, then copy';
  });
  const code = make('code'); // no word of it is broken, least of all after its hyphens
  code.append(...command.split(' ').flatMap((word) => [make('span', '', word), ' ']).slice(0, -1));
  row.append(code, button);
  return row;
}
