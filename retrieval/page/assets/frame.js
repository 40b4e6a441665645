(() => {
  // The tab that is open is part of the address, so that a link and a reload bring it back.
  const first = 'Search';
  const named = new URLSearchParams(window.location.search).get('tab');
  const tabs = () => [...document.querySelectorAll('#tabs button[role=tab]')];
  const nameOf = (tab) => tab.textContent.trim();

  document.addEventListener('click', (event) => {
    const tab = event.target.closest?.('#tabs button[role=tab]');
    if (!tab) return;
    const url = new URL(window.location);
    if (nameOf(tab) === first) url.searchParams.delete('tab');
    else url.searchParams.set('tab', nameOf(tab).toLowerCase());
    history.replaceState(history.state, '', url);
  });

  // Past the heading and the tabs, to the answer or to what the open tab holds.
  document.addEventListener('click', (event) => {
    if (!event.target.closest?.('.skip')) return;
    event.preventDefault();
    const places = [...document.querySelectorAll('#answer, #tabs [role=tabpanel]')];
    const place = places.findLast((one) => one.offsetParent !== null);
    if (!place) return;
    place.tabIndex = -1;
    place.focus();
  });

  // Other tabs' offers: queue one cell, then show the queue. Answers a sentence where it cannot be.
  window.queueCell = async (cell) => {
    const sent = {method: 'POST', body: JSON.stringify({do: 'add', ...cell}), headers: {'Content-Type': 'application/json'}};
    const said = await fetch('jobs', sent).then((reply) => reply.json()).catch(() => ({message: 'The server does not answer.', remedy: 'Check that it still runs.'}));
    if (said.message) return `${said.message} ${said.remedy}`;
    tabs().find((one) => nameOf(one) === 'Jobs')?.click();
    window.dispatchEvent(new CustomEvent('jobqueued'));
    return '';
  };

  if (!named || named === first.toLowerCase()) return;
  const opened = new MutationObserver(() => {
    const tab = tabs().find((one) => nameOf(one).toLowerCase() === named);
    if (!tab && !tabs().length) return;
    opened.disconnect();
    tab?.click();
  });
  opened.observe(document.documentElement, {childList: true, subtree: true});
})();
