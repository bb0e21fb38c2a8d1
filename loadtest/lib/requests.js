// What the scripts share: where the requests go, how cold and warm answers are told apart, and the summary.
//
// Every script is run alone against any address:
//   k6 run -e BASE_URL=http://127.0.0.1:8080 -e HOST=chatbot.example.com loadtest/cold-start.js
// and takes these settings:
//   BASE_URL  the proxy's address                         http://127.0.0.1:8080
//   HOST      the Host header; several, separated by a comma, take turns   chatbot.example.com
//   PATHNAME  the path asked for                          /
//   SUMMARY   a file for the summary as JSON              none
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

export const baseUrl = (__ENV.BASE_URL || 'http://127.0.0.1:8080').replace(/\/$/, '');
export const hosts = (__ENV.HOST || 'chatbot.example.com').split(',');
export const pathname = __ENV.PATHNAME || '/';

// Time from sending a request to its answer's last byte, by whether it met no replica ("cold").
export const coldDuration = new Trend('cold_duration', true);
export const warmDuration = new Trend('warm_duration', true);
// Requests that met no replica.
export const coldStarts = new Counter('cold_starts');
// Requests that were not answered with 200.
export const errors = new Counter('errors');

// How long a request may take: longer than Rouse holds one, so that its answer is seen.
const TIMEOUT = '370s';

export const trendStats = ['count', 'min', 'med', 'p(95)', 'p(99)', 'max'];

export function number(name, fallback) {
  const value = __ENV[name] === undefined ? fallback : Number(__ENV[name]);
  if (!Number.isFinite(value)) {
    throw new Error(`${name}=${__ENV[name]}: a number is expected`);
  }
  return value;
}

// Sends one request and counts it as cold or warm, or as an error. Says whether it was cold.
export function request(host) {
  const response = http.get(`${baseUrl}${pathname}`, { headers: { Host: host }, timeout: TIMEOUT });
  if (response.status !== 200) {
    errors.add(1);
    return false;
  }
  errors.add(0);
  const isCold = response.headers['X-Keda-Http-Cold-Start'] === 'true';
  const duration = response.timings.duration + response.timings.blocked + response.timings.connecting;
  (isCold ? coldDuration : warmDuration).add(duration);
  coldStarts.add(isCold ? 1 : 0);
  return isCold;
}

function trend(metric) {
  const values = metric.values;
  return {
    count: values.count,
    min_ms: values.min,
    p50_ms: values.med,
    p95_ms: values['p(95)'],
    p99_ms: values['p(99)'],
    max_ms: values.max,
  };
}

// A handleSummary: a table on standard output, and JSON in the file that SUMMARY names.
export function summarize(script) {
  return (data) => {
    const failed = [];
    for (const [name, metric] of Object.entries(data.metrics)) {
      for (const [threshold, result] of Object.entries(metric.thresholds || {})) {
        if (!result.ok) {
          failed.push(`${name}: ${threshold}`);
        }
      }
    }
    const durations = {};
    for (const phase of ['cold', 'warm']) {
      const metric = data.metrics[`${phase}_duration`];
      if (metric && metric.values.count > 0) {
        durations[phase] = trend(metric);
      }
    }
    const errorCount = data.metrics.errors ? data.metrics.errors.values.count : 0;
    const summary = {
      script,
      thresholds_passed: failed.length === 0,
      thresholds_failed: failed,
      errors: errorCount,
      dropped_iterations: data.metrics.dropped_iterations ? data.metrics.dropped_iterations.values.count : 0,
      durations,
    };

    let text = `\n${script} (ms)    count       p50       p95       p99       max\n`;
    for (const [phase, d] of Object.entries(durations)) {
      const cells = [d.count, d.p50_ms.toFixed(2), d.p95_ms.toFixed(2), d.p99_ms.toFixed(2), d.max_ms.toFixed(2)];
      text += `${phase.padEnd(script.length + 5)}${cells.map((cell) => String(cell).padStart(10)).join('')}\n`;
    }
    text += `errors: ${errorCount}\n`;
    text += failed.length === 0 ? 'all thresholds passed\n' : `thresholds FAILED: ${failed.join('; ')}\n`;

    const outputs = { stdout: text };
    if (__ENV.SUMMARY) {
      outputs[__ENV.SUMMARY] = `${JSON.stringify(summary, null, 2)}\n`;
    }
    return outputs;
  };
}
