// Begins once all parts are there: menus, then the first question, which is the address's.
fillMenus({});
watch('value', () => draw(props.value));
// A collection that the Collections tab has added is chosen, computing nothing yet; what it has removed is left.
window.addEventListener('collectionadded', ({detail}) => {
  const {encoder, protocol, k} = settings();
  ask({dataset: detail, k, sample: '', ...(dataset().ndim === 2 && {encoder, protocol})}, {});
});
window.addEventListener('collectionremoved', ({detail}) => {
  menus.datasets = menus.datasets.filter((one) => !one.own || one.name !== detail);
  if (controls.dataset.value === detail) ask({}, {history: 'replace', address: true});
  else [...controls.dataset.options].find((one) => one.value === detail)?.remove();
});
window.searchIn = (name) => {
  document.querySelector('#tabs button[role=tab]').click();
  if (question.dataset !== name) window.dispatchEvent(new CustomEvent('collectionadded', {detail: name}));
};
ask(Object.fromEntries(new URLSearchParams(history.state?.words || window.location.search)), {
  history: 'replace', address: true, eager: true, said: 'Looking for a first example…',
});
