// Draws a small portrait and degrades it, so that the other examples run without anyone's photographs.
//   node examples/portrait.mjs OUT_FOLDER
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'

/** A face as SVG; `tilt` in degrees and `smile` (-1 to 1) tell pictures of one person apart. */
function portrait({ tilt, smile, background }) {
  const mouth = 372 + 6 * smile
  return Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="512" height="512" viewBox="0 0 512 512">
  <defs>
    <radialGradient id="room" cx="0.3" cy="0.2" r="1.1"><stop offset="0" stop-color="${background}"/><stop offset="1" stop-color="#26303c"/></radialGradient>
    <radialGradient id="skin" cx="0.38" cy="0.35" r="0.8"><stop offset="0" stop-color="#f2cdb0"/><stop offset="0.65" stop-color="#d79f7c"/><stop offset="1" stop-color="#9c6247"/></radialGradient>
    <linearGradient id="hair" x1="0" y1="0" x2="0.5" y2="1"><stop offset="0" stop-color="#7a4a2a"/><stop offset="1" stop-color="#2c1a10"/></linearGradient>
    <radialGradient id="iris"><stop offset="0" stop-color="#0d1a14"/><stop offset="0.45" stop-color="#2f6b55"/><stop offset="1" stop-color="#173a2e"/></radialGradient>
    <filter id="soft"><feGaussianBlur stdDeviation="5"/></filter>
  </defs>
  <rect width="512" height="512" fill="url(#room)"/>
  <g transform="rotate(${tilt} 256 330)">
    <path d="M60 512 C80 440 170 430 205 410 L307 410 C342 430 432 440 452 512 Z" fill="#35507c"/>
    <path d="M205 360 L205 425 C225 455 287 455 307 425 L307 360 Z" fill="#b87f5e"/>
    <path d="M118 235 C100 90 190 40 258 42 C340 42 412 100 394 240 C392 300 372 150 256 150 C150 150 124 300 118 235 Z" fill="url(#hair)"/>
    <ellipse cx="128" cy="268" rx="18" ry="34" fill="#c68d6b"/><ellipse cx="384" cy="268" rx="18" ry="34" fill="#a87052"/>
    <path d="M132 230 C132 130 190 100 256 100 C322 100 380 130 380 230 C380 320 340 430 256 432 C172 430 132 320 132 230 Z" fill="url(#skin)"/>
    <path d="M125 225 C130 120 200 92 262 96 C330 98 384 130 387 225 C370 170 330 150 290 148 C240 176 170 160 125 225 Z" fill="url(#hair)"/>
    <ellipse cx="185" cy="315" rx="34" ry="20" fill="#d9826c" opacity="0.35" filter="url(#soft)"/>
    <ellipse cx="327" cy="315" rx="34" ry="20" fill="#d9826c" opacity="0.35" filter="url(#soft)"/>
    <path d="M160 208 Q193 190 226 206" stroke="#3a2416" stroke-width="9" fill="none" stroke-linecap="round"/>
    <path d="M286 206 Q319 190 352 208" stroke="#3a2416" stroke-width="9" fill="none" stroke-linecap="round"/>
    <path d="M163 241 Q193 218 224 243 Q193 260 163 241 Z" fill="#fbf7f2"/><path d="M288 243 Q319 218 349 241 Q319 260 288 243 Z" fill="#fbf7f2"/>
    <circle cx="194" cy="240" r="13" fill="url(#iris)"/><circle cx="318" cy="240" r="13" fill="url(#iris)"/>
    <circle cx="199" cy="235" r="3.5" fill="#fff"/><circle cx="323" cy="235" r="3.5" fill="#fff"/>
    <path d="M163 241 Q193 216 224 243" stroke="#2b1a12" stroke-width="4" fill="none"/><path d="M288 243 Q319 216 349 241" stroke="#2b1a12" stroke-width="4" fill="none"/>
    <path d="M250 250 Q240 300 234 314 Q256 332 280 314" stroke="#99603f" stroke-width="5" fill="none" stroke-linecap="round"/>
    <path d="M204 ${mouth} Q256 ${372 + 26 * smile} 308 ${mouth} Q256 ${396 + 22 * smile} 204 ${mouth} Z" fill="#a8433f"/>
    <path d="M204 ${mouth} Q256 ${374 + 20 * smile} 308 ${mouth}" stroke="#6e2422" stroke-width="4" fill="none"/>
    <circle cx="330" cy="345" r="4" fill="#6d3d29"/>
  </g></svg>`)
}

const folder = process.argv[2] ?? 'portraits'
await mkdir(folder, { recursive: true })
/** The picture that `image` makes, written under `name`. */
const write = async (name, image) => writeFile(join(folder, name), await image.toBuffer())
const face = (options) => sharp(portrait(options)).png()

await write('reference-1.png', face({ tilt: 5, smile: -0.2, background: '#c8a878' }))
await write('reference-2.png', face({ tilt: -9, smile: 1, background: '#7e9c7a' }))
const truth = face({ tilt: -3, smile: 0.6, background: '#8fa6b8' })
const small = await sharp(await truth.toBuffer())
  .blur(4)
  .resize(96)
  .png()
  .toBuffer()
await write('degraded.jpg', sharp(small).resize(512).jpeg({ quality: 22 }))
console.log(`wrote degraded.jpg, reference-1.png and reference-2.png to ${folder}/`)
