// Words in the place of a picture: only for extractors that have a text side, and among pictures.
function takesWords() {
  const chosen = menus.encoders.find((one) => one.name === choice.value) || value.extractor?.offered;
  return Boolean(chosen?.words) && dataset().ndim === 2;
}

function drawPhrase() {
  find('#phrase').hidden = !takesWords();
}

find('.by-words').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = controls.text.value;
  ask({...settings(), text}, {eager: true, show: true, said: 'Searching… the first words take longer, while the text side loads.'});
});
