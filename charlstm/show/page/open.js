// @ts-check
// In: the page's script, packed. Out: the script, running: it is the one whose hash the page's policy has.

async function unfold() {
  const packed = atob(String(document.getElementById("script")?.textContent).trim());
  const stream = new Blob([Uint8Array.from(packed, (byte) => byte.charCodeAt(0))]).stream();
  const element = document.createElement("script");
  element.type = "module";
  element.textContent = await new Response(stream.pipeThrough(new DecompressionStream("deflate"))).text();
  document.head.append(element);
}

unfold().catch((problem) => {
  const told = document.createElement("p");
  told.setAttribute("role", "alert");
  told.textContent = `This page needs a browser of 2023 or later (${problem}).`;
  document.body.prepend(told);
});

export {};
