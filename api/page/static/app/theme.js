/** Dark or light as chosen here, before anything is painted: no module, since those wait. */
try {
  document.documentElement.dataset.theme = JSON.parse(localStorage.getItem("parascribe.theme") ?? '""');
} catch {
  // as the system has it
}
