// A picture or volume of the visitor's own: chosen, dropped or pasted, sent as it is, and forgotten when asked.
const drop = find('.drop');
const chooser = find('.drop input');
say('.promise', menus.promise);

async function send(file) {
  say('.refusal', '');
  if (file.size > menus.most) return say('.refusal', `“${file.name}” is larger than ${menus.most / 2 ** 20} MB. Upload a smaller copy of it.`);
  const number = (asked += 1); // what is asked while it is sent is newer
  busy('Reading your file…');
  const reply = await put(file);
  if (number !== asked) return dismiss(reply);
  if (!reply.token) {
    idle();
    return say('.refusal', `${reply.message} ${reply.remedy}`);
  }
  ask({...settings(), upload: reply.token}, {eager: true, show: true, said: 'Searching… the first one takes longer, while the extractor loads.'});
}

async function put(file) {
  try {
    // Whatever the file claims to be, its bytes decide. Its name may be a person's: addresses are written into logs.
    const headers = {'Content-Type': 'application/octet-stream', 'X-File-Name': encodeURIComponent(file.name)};
    const reply = await fetch('upload', {method: 'PUT', body: file, headers});
    return await reply.json();
  } catch {
    return {message: 'The file could not be sent.', remedy: 'Check that the server still runs, then try again.'};
  }
}

// Nobody asks with it any more.
function dismiss({token}) {
  if (token) fetch(`upload/${token}`, {method: 'DELETE'}).catch(() => {}); // else its time deletes it
}

const pictureIn = (transfer) => [...(transfer?.files || [])][0];
const takesUploads = () => !find('.own').hidden && element.offsetParent !== null;

chooser.addEventListener('change', () => {
  const file = chooser.files[0];
  if (file) send(file);
  chooser.value = '';
});
document.addEventListener('paste', (event) => {
  const file = pictureIn(event.clipboardData);
  if (file && takesUploads()) send(file);
});
// Anywhere on the tab will do, so that a picture that misses the box does not replace the page.
document.addEventListener('dragover', (event) => {
  if (!takesUploads() || ![...event.dataTransfer.types].includes('Files')) return;
  event.preventDefault();
  drop.classList.add('over');
});
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) drop.classList.remove('over');
});
document.addEventListener('drop', (event) => {
  drop.classList.remove('over');
  const file = pictureIn(event.dataTransfer);
  if (!file || !takesUploads()) return;
  event.preventDefault();
  send(file);
});
find('.forget').addEventListener('click', () => {
  ask({...settings(), sample: '', forget: question.upload}, {history: 'replace'});
});
