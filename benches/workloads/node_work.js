// JIT-heavy JavaScript: `node node_work.js CPU_SECONDS`. Reports as `progress.h` says.
'use strict';

const { writeSync } = require('node:fs');

class Point {
  constructor(x, y) { this.x = x; this.y = y; }
  add(other) { return new Point(this.x + other.x, this.y + other.y); }
  get length() { return Math.hypot(this.x, this.y); }
}

function fibonacci(n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

function sieve(limit) {
  const composite = new Uint8Array(limit + 1);
  let n = 0;
  for (let i = 2; i <= limit; i++) {
    if (composite[i]) continue;
    n++;
    for (let j = i * i; j <= limit; j += i) composite[j] = 1;
  }
  return n;
}

function walk(depth, point) {
  if (depth === 0) return point.length;
  const next = point.add(new Point(depth, -depth));
  return walk(depth - 1, next) + [1, 2, 3].map((k) => k * depth).reduce((a, b) => a + b, 0);
}

function text(seed) {
  const words = Array.from({ length: 80 }, (_, i) => `word${(seed * i) % 977}`);
  words.sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  const counts = new Map();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return JSON.stringify([...counts]).replace(/word(\d)/g, (_, digit) => digit + '!').length;
}

const endNs = Number(process.argv[2] ?? 1e9) * 1e9;
const cpuNow = () => { const used = process.cpuUsage(); return (used.user + used.system) * 1000; };
writeSync(1, `pid ${process.pid}\n0 ${cpuNow()} ${process.hrtime.bigint()}\n`);
let units = 0;
let printedNs = 0;
let value = 1;
for (let cpuNs = 0; cpuNs < endNs;) {
  value = (fibonacci(14) + sieve(2000) + walk(40, new Point(1, 2)) + text(value | 0)) % 100003;
  units++;
  cpuNs = cpuNow();
  if (cpuNs - printedNs >= 20e6 || cpuNs >= endNs) {
    writeSync(1, `${units} ${cpuNs} ${process.hrtime.bigint()}\n`);
    printedNs = cpuNs;
  }
}
