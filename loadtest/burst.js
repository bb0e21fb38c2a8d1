// Many requests at the same moment to a target that is, as a rule, at zero: all are held, woken for once, and answered.
//
//   VUS       requests at the same moment                                   500
//   MAX_MS    threshold: every request within this time                     60000
//   PATHNAME  what each asks for                                            /
// and BASE_URL, HOST, SUMMARY (lib/requests.js). `-e PATHNAME=/delay/5` makes each request cost five seconds.
import exec from 'k6/execution';
import { hosts, number, request, summarize, trendStats } from './lib/requests.js';

const maxMs = number('MAX_MS', 60000);

export const options = {
  scenarios: {
    burst: { executor: 'per-vu-iterations', vus: number('VUS', 500), iterations: 1, maxDuration: '10m' },
  },
  thresholds: {
    errors: ['count==0'],
    cold_duration: [`max<${maxMs}`],
    warm_duration: [`max<${maxMs}`],
  },
  summaryTrendStats: trendStats,
};

export default function () {
  request(hosts[exec.scenario.iterationInTest % hosts.length]);
}

export const handleSummary = summarize('burst.js');
