// Begins once all parts are there: menus, then the first question, which is the address's.
fillMenus({});
watch('value', () => draw(props.value));
ask(Object.fromEntries(new URLSearchParams(history.state?.words || window.location.search)), {
  history: 'replace', address: true, eager: true, said: 'Looking for a first example…',
});
