// Samples name the address that this page came from, and can be copied.

for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;

for (const sample of document.querySelectorAll(".sample")) {
  if (!navigator.clipboard) continue; // Only offered on localhost and over HTTPS.
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(sample.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  sample.append(button);
}
