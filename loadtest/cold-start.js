// Wakes a target from zero again and again: one request that is held until a replica is ready, then a few that are not.
//
//   ITERATIONS   wakes in all                                                         3
//   WARM         requests after each wake                                             5
//   IDLE         seconds of silence before each wake, long enough to reach zero       90
//   COLD_P95_MS  threshold: 95 % of the cold requests within this time                30000
//   WARM_P95_MS  threshold: 95 % of the warm requests within this time                500
// and BASE_URL, HOST, PATHNAME, SUMMARY (lib/requests.js). Several hosts take turns, so that one is idle while others wake.
import { sleep } from 'k6';
import exec from 'k6/execution';
import { hosts, number, request, summarize, trendStats } from './lib/requests.js';

const warmRequests = number('WARM', 5);
const idleSeconds = number('IDLE', 90);

export const options = {
  scenarios: {
    wake: {
      executor: 'shared-iterations',
      vus: 1,
      iterations: number('ITERATIONS', 3),
      maxDuration: '24h',
    },
  },
  thresholds: {
    errors: ['count==0'],
    // Without a wake nothing was measured.
    cold_starts: ['count>0'],
    cold_duration: [`p(95)<${number('COLD_P95_MS', 30000)}`],
    warm_duration: [`p(95)<${number('WARM_P95_MS', 500)}`],
  },
  summaryTrendStats: trendStats,
};

export default function () {
  sleep(idleSeconds);
  const host = hosts[exec.scenario.iterationInTest % hosts.length];
  request(host);
  for (let sent = 0; sent < warmRequests; sent += 1) {
    request(host);
  }
}

export const handleSummary = summarize('cold-start.js');
