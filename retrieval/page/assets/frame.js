// The tab that is open is part of the address, so that a link and a reload bring it back.
(() => {
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

  if (!named || named === first.toLowerCase()) return;
  const opened = new MutationObserver(() => {
    const tab = tabs().find((one) => nameOf(one).toLowerCase() === named);
    if (!tab && !tabs().length) return;
    opened.disconnect();
    tab?.click();
  });
  opened.observe(document.documentElement, {childList: true, subtree: true});
})();
