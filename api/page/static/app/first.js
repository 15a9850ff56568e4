/** Before all modules: dark or light as chosen here, and a first picture before the rest is fetched. No module, since those wait. */
try {
  document.documentElement.dataset.theme = JSON.parse(localStorage.getItem("parascribe.theme") ?? '""');
} catch {
  // as the system has it
}
{
  const rest = () => {
    const later = document.querySelector("#later");
    if (later instanceof HTMLTemplateElement) document.body.append(later.content);
    later?.remove();
  };
  // behind the frame in which the bar is painted; a tab that nobody sees has no frames
  if (document.hidden) rest();
  else requestAnimationFrame(() => setTimeout(rest));
}
