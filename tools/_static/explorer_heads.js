// Heads trained in the reader's browser, for the explorer's dots.
//
// The balanced setting does not change under rotations of the state and of the features. So the
// features are d scaled and noisy entries of the state, and after them noise alone.
"use strict";

const hmmHeads = (() => {
  // Normal numbers, the same for the same seed on every machine (mulberry32; Box and Muller).
  function normals(seed) {
    let a = seed >>> 0;
    const uniform = () => {
      a = (a + 0x6d2b79f5) >>> 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    let spare = null;
    return () => {
      if (spare !== null) {
        const value = spare;
        spare = null;
        return value;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    };
  }

  const matrix = (rows, columns, entry) =>
    Array.from({ length: rows }, (_, i) => Float64Array.from({ length: columns }, (__, j) => entry(i, j)));

  function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
    return sum;
  }

  // The product of a matrix, a feature a row, with labels.
  const times = (X, Y) => X.map((row) => {
    const product = new Float64Array(Y[0].length);
    for (let t = 0; t < row.length; t += 1) {
      for (let j = 0; j < product.length; j += 1) product[j] += row[t] * Y[t][j];
    }
    return product;
  });

  // Solve M A = R for a symmetric positive M, by Cholesky; false if M is singular.
  function solve(M, R) {
    const size = M.length;
    for (let i = 0; i < size; i += 1) {
      for (let j = 0; j <= i; j += 1) {
        let sum = M[i][j];
        for (let k = 0; k < j; k += 1) sum -= M[i][k] * M[j][k];
        if (i === j && !(sum > 0)) return false;
        M[i][j] = i === j ? Math.sqrt(sum) : sum / M[j][j];
      }
    }
    const columns = R[0].length;
    const lessMultiple = (to, from, factor) => {
      for (let c = 0; c < columns; c += 1) to[c] -= factor * from[c];
    };
    for (let i = 0; i < size; i += 1) {
      for (let k = 0; k < i; k += 1) lessMultiple(R[i], R[k], M[i][k]);
      for (let c = 0; c < columns; c += 1) R[i][c] /= M[i][i];
    }
    for (let i = size - 1; i >= 0; i -= 1) {
      for (let k = i + 1; k < size; k += 1) lessMultiple(R[i], R[k], M[k][i]);
      for (let c = 0; c < columns; c += 1) R[i][c] /= M[i][i];
    }
    return true;
  }

  // Draw n prompts, train one head of size p, and return its exact risk.
  function trainedRisk(model, p, normal) {
    const { n, d, s, rho, sigma_u: sigma, ridge } = model;
    if (p === 0) return d;
    const shared = Math.min(p, d);
    const scale = Math.sqrt((s * Math.max(p, d)) / d);
    const Z = matrix(n, d, normal);
    const rest = Math.sqrt(1 - rho * rho);
    const Y = matrix(n, d, (t, j) => rho * Z[t][j] + rest * normal());
    const X = matrix(p, n, (i, t) => (i < shared ? scale * Z[t][i] : 0) + sigma * normal()); // a feature a row
    let head; // (p, d)
    if (p <= n) {
      head = times(X, Y);
      const gram = matrix(p, p, (i, k) => (k <= i ? dot(X[i], X[k]) + (i === k ? ridge : 0) : 0));
      if (!solve(gram, head)) return Infinity;
    } else {
      const gram = matrix(n, n, (t, u) => (t === u ? ridge : 0));
      for (const row of X) {
        for (let t = 0; t < n; t += 1) for (let u = 0; u <= t; u += 1) gram[t][u] += row[t] * row[u];
      }
      if (!solve(gram, Y)) return Infinity;
      head = times(X, Y);
    }
    let risk = d;
    for (let i = 0; i < p; i += 1) {
      if (i < shared) risk -= 2 * rho * scale * head[i][i];
      risk += ((i < shared ? scale * scale : 0) + sigma * sigma) * dot(head[i], head[i]);
    }
    return risk;
  }

  // Sizes where heads are worth training: densest about n.
  function sizes({ n }, last) {
    const shares = [0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 1, 1.05, 1.15, 1.35, 1.7, 2.3, 3, 4];
    return [...new Set(shares.map((x) => Math.round(x * n)))].filter((p) => p >= 1 && p <= last);
  }

  return { normals, sizes, trainedRisk };
})();
