for (const button of document.querySelectorAll("button.copy")) {
  const code = button.parentElement.querySelector("code");
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", () => {
    const label = button.firstChild;
    navigator.clipboard.writeText(code.textContent).then(() => { label.data = "Copied"; }, () => { label.data = "Not allowed"; });
  });
}
const unfolded = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    if (details.closest("#browser")) continue;
    details.open = true;
    unfolded.push(details);
  }
});
addEventListener("afterprint", () => { while (unfolded.length) unfolded.pop().open = false; });
