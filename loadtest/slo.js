// The service level: 500 ms at 3,500 requests per second, for 99 % of the requests and without an error.
//
//   RATE         requests per second                                        3500
//   DURATION     how long                                                   30s
//   WARM_P99_MS  threshold: 99 % of the warm requests within this time      500
// and BASE_URL, HOST, PATHNAME, SUMMARY (lib/requests.js). k6 needs a processor or two of its own for this rate; where the
// rate was not reached, dropped_iterations fails rather than the latency looking good.
import exec from 'k6/execution';
import { hosts, number, request, summarize, trendStats } from './lib/requests.js';

const rate = number('RATE', 3500);

export const options = {
  scenarios: {
    slo: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration: __ENV.DURATION || '30s',
      // Enough for answers of 200 ms on average, so that few have to be made while the clock runs.
      preAllocatedVUs: Math.max(10, Math.ceil(rate / 5)),
      maxVUs: Math.max(100, rate),
    },
  },
  thresholds: {
    errors: ['count==0'],
    // At most one in a thousand that k6 itself did not get to send.
    dropped_iterations: [`rate<${rate / 1000}`],
    warm_duration: [`p(99)<${number('WARM_P99_MS', 500)}`],
  },
  // What is not read is not kept.
  discardResponseBodies: true,
  summaryTrendStats: trendStats,
};

export default function () {
  request(hosts[exec.scenario.iterationInTest % hosts.length]);
}

export const handleSummary = summarize('slo.js');
