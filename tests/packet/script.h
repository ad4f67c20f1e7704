// Runs packet scripts: one connection, what is sent to it, what it must answer, virtual time.
//
// One statement a line; `#` begins a comment; `== name` begins a test with everything fresh.
//
//   set KEY VALUE            config, before opening: receive_limit, receive_initial (less: the
//                            window tunes itself), send_limit, mtu, mss_clamp, tso, ecn, ipv6,
//                            keepalive_ms, keepalive_interval_ms, keepalive_probes,
//                            user_timeout_ms, connect_timeout_ms, time_wait_ms, fin_wait2_ms,
//                            nodes, records, in_flight (sizes of pools), pacing, cubic, isn
//                            (ours), peer_isn, peer_port, start_ms, truesize, piece (bytes of one
//                            `send` slice), ack_small (Tcb::ack_small, active open)
//   connect | listen         active open; passive, by cookie
//   park                     the connection in TIME-WAIT becomes an entry of the TimeWaitTable
//   reconnect yes | no       active open over that entry: allowed or not
//   send N | read N | fin | abort
//   icmp toobig SEQ MTU | icmp unreachable SEQ CODE | icmp expired SEQ | icmp parameter SEQ
//   pressure none|soft|hard
//   hold in_flight|records N other connections have so many objects of that pool
//   < FLAGS A:B(N) [ack K] [win W] [ip E] [<OPTIONS>]    a segment from the peer
//   > FLAGS A:B(N) [ack K] [win W] [ip E] [<OPTIONS>]    the next segment from us; win, ip and
//                                                        options are compared where given
//   > FLAGS A:B(C*N) ...     C segments of N bytes each, in order
//   > none                   nothing (more) is sent
//   +MS                      time passes, timers run; before it, everything sent was expected
//   state S | cause C | readable N | counter NAME N | mss N (Tcb::mss) | ecn on|off
//   limit N                  truesize that the connection may hold now
//   cwnd N | ssthresh N      of the congestion window, in bytes
//   result NAME...           of all input since the last `result`: connected readable writable
//                            peer_finished time_wait closed answer_reset, or none
//   blocked on|off           whether emit refuses
//
// Sequence numbers are relative to each side's ISN. FLAGS: S F R P U E W (CWR) . (ACK) or -
// for none. E of `ip` is the codepoint: 0 none, 1 ECT(1), 2 ECT(0), 3 CE.
// OPTIONS: mss N, ws N, sackok, ts N (from the peer: tsval, with our last tsval as tsecr; from us:
// tsecr), ecr MS (from the peer: tsecr is our clock of MS milliseconds ago), ts (present), nots
// (absent), sack A:B ... Payload is a pattern of the position, checked when it is read and sent.
#pragma once

#include <string>
#include <vector>

namespace sluice::testbed {

struct ScriptTest {
  std::string name;
  int first_line = 0;
  std::vector<std::string> lines;
};

std::vector<ScriptTest> load_scripts(const std::string& file);
// Empty on success, otherwise "line: what happened".
std::string run_script(const ScriptTest& test);

}  // namespace sluice::testbed
