// A steady rate of requests to a target that stays warm.
//
//   RATE         requests per second                                        200
//   DURATION     how long                                                   30s
//   WARM_P95_MS  threshold: 95 % of the warm requests within this time      100
// and BASE_URL, HOST, PATHNAME, SUMMARY (lib/requests.js).
import exec from 'k6/execution';
import { hosts, number, request, summarize, trendStats } from './lib/requests.js';

const rate = number('RATE', 200);

export const options = {
  scenarios: {
    steady: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration: __ENV.DURATION || '30s',
      preAllocatedVUs: Math.max(10, Math.ceil(rate / 5)),
      // Requests held while the target wakes each keep a VU.
      maxVUs: Math.max(100, rate * 10),
    },
  },
  thresholds: {
    errors: ['count==0'],
    // At most one in a thousand that k6 itself did not get to send.
    dropped_iterations: [`rate<${rate / 1000}`],
    warm_duration: [`p(95)<${number('WARM_P95_MS', 100)}`],
  },
  summaryTrendStats: trendStats,
};

export default function () {
  request(hosts[exec.scenario.iterationInTest % hosts.length]);
}

export const handleSummary = summarize('steady.js');
