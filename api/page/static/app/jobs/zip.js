/** A zip of small texts, made here, since the API has zips of batches only. Stored, not packed (APPNOTE 6.3.10, 4.3). */

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** @param {number[][]} fields bytes and value of each, little-endian */
const numbers = (...fields) => Uint8Array.from(fields.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, n) => (value >>> (8 * n)) & 255)));

/** @param {{ name: string, data: Uint8Array<ArrayBuffer> }[]} files fewer than 65,536, less than 4 GiB; the second `a.srt` becomes `a (2).srt` */
export function zip(files) {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const directory = [];
  const used = new Set();
  const size = (/** @type {Uint8Array[]} */ of) => of.reduce((sum, { length }) => sum + length, 0);
  for (const { name, data } of files) {
    let free = name.replace(/[/\\]/g, "_");
    for (let n = 2; used.has(free.toLowerCase()); n++) free = name.replace(/(\.[^.]*)?$/, (end) => ` (${n})${end}`);
    used.add(free.toLowerCase());
    const path = new TextEncoder().encode(free);
    const sum = ~data.reduce((crc, byte) => TABLE[(crc ^ byte) & 255] ^ (crc >>> 8), -1);
    const at = size(parts);
    // version 2.0, name in UTF-8, stored, 1 January 1980
    const common = [[2, 20], [2, 0x800], [4, 0], [2, 33], [4, sum], [4, data.length], [4, data.length], [2, path.length], [2, 0]];
    parts.push(numbers([4, 0x04034b50], ...common), path, data);
    directory.push(numbers([4, 0x02014b50], [2, 20], ...common, [6, 0], [4, 0], [4, at]), path);
  }
  const end = numbers([4, 0x06054b50], [4, 0], [2, files.length], [2, files.length], [4, size(directory)], [4, size(parts)], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
