import { ago, band, number, share } from "../format";
import { useLoaded, useTitle } from "../hooks";
import { Card, Empty, Loading, Problem, State, Table } from "../parts";
import { Link, path } from "../router";
import type { ListedAgent } from "../types";

export function AgentsView() {
  useTitle("Agents");
  const { data, failure } = useLoaded<{ agents: ListedAgent[] }>("agents");
  return (
    <>
      <h1>Agents</h1>
      <Problem failure={failure} />
      {!data && !failure && <Loading />}
      {data?.agents.length === 0 && <Empty>No agent is registered.</Empty>}
      {data && data.agents.length > 0 && (
        <Card title="Registered agents" aside="counts of the last 24 hours">
          <Table label="Agents">
            <thead>
              <tr>
                <th>Agent</th>
                <th>State</th>
                <th class="right">Score</th>
                <th class="right">Sessions</th>
                <th class="right">Calls</th>
                <th class="right">Errors</th>
                <th class="right">Compliance</th>
                <th>Last event</th>
              </tr>
            </thead>
            <tbody>
              {data.agents.map((one) => (
                <tr key={one.agentId}>
                  <td>
                    <Link to={path("agents", one.agentId)}>{one.name}</Link>
                  </td>
                  <td>
                    <State of={one.status} />
                  </td>
                  <td class="right num">{number(one.composite, 1)}</td>
                  <td class="right num">{number(one.sessions)}</td>
                  <td class="right num">{number(one.calls)}</td>
                  <td class="right num">{share(one.errors, one.calls)}</td>
                  <td class={`right num ${band(one.valid, one.bound)}`}>{share(one.valid, one.bound)}</td>
                  <td>{one.lastSeenAt ? ago(one.lastSeenAt) : "–"}</td>
                </tr>
              ))}
            </tbody>
          </Table>
        </Card>
      )}
    </>
  );
}
