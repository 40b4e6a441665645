// One slider moves the query and all cards through their slices. Before it is touched each shows its fullest slice.
const sliders = all('.slices input');
let shown = null;

function sliceOf(img, share) {
  return share === null ? Number(img.dataset.fullest) : Math.round(share * (Number(img.dataset.slices) - 1));
}

function showSlice(slice) {
  const last = Number(sliders[0].max);
  shown = slice;
  const share = slice === null || last === 0 ? null : slice / last;
  for (const img of all('img[data-slices]')) turnTo(img, sliceOf(img, share));
  for (const output of all('.slices output')) {
    output.textContent = slice === null ? 'each at its fullest slice' : `${slice + 1} of ${last + 1}`;
  }
  for (const slider of sliders) {
    if (slice !== null) slider.value = slice;
    slider.setAttribute('aria-valuetext', slice === null ? 'each at its fullest slice' : `slice ${slice + 1} of ${last + 1}`);
  }
  if (share !== null) fetchAhead(slice, last);
}

// What is seen of a volume is also said: which slice, and of how many.
function turnTo(img, slice) {
  img.src = img.dataset.address.replace('{z}', slice);
  img.alt = [img.dataset.named, `slice ${slice + 1} of ${img.dataset.slices}`].filter(Boolean).join(', ');
}

// The slices around the one shown are fetched before they are asked for; the browser then keeps them for good.
function fetchAhead(slice, last) {
  for (const img of all('.answer img[data-slices]')) {
    for (const near of [slice + 1, slice - 1, slice + 2, slice - 2, slice + 3, slice - 3]) {
      if (near >= 0 && near <= last) new Image().src = img.dataset.address.replace('{z}', sliceOf(img, near / last));
    }
  }
}

function drawSlices(value) {
  for (const box of all('.slices')) box.hidden = !value.slices;
  if (!value.slices) return;
  for (const slider of sliders) {
    slider.max = value.slices - 1;
    slider.value = value.query.original.fullest;
  }
  showSlice(null);
}

for (const slider of sliders) slider.addEventListener('input', () => showSlice(Number(slider.value)));
find('.fullest').addEventListener('click', () => showSlice(null));
