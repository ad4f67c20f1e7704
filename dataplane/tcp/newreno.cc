// Job: find losses by counting. A duplicate ACK stands for one segment that has left:
// `sacked_bytes` counts them, so that pipe and PRR work as with SACK (RFC 6937 3.1). The third one
// stands for the loss of the first segment, and in a recovery so does each partial ACK.
#include "tcp/newreno.h"

#include <algorithm>

#include "tcp/scoreboard.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

constexpr uint32_t kDupAckThreshold = 3;  // RFC 5681 3.2

uint32_t mark_first_lost(Stack& stack, Tcb& tcb) {
  const uint32_t first = tcb.in_flight->first;
  if (first == kNoRecord) return 0;
  const uint32_t end = tcb.snd_una + effective_mss(tcb);
  if (seq_less(end, record_end(stack, tcb, stack.pools.records[first]))) {
    split_record(stack, tcb, first, end);
  }
  return mark_lost(stack, tcb, first);
}

}  // namespace

void newreno_count_duplicates(Tcb& tcb, bool duplicate, AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  const uint32_t mss = effective_mss(tcb);
  if (duplicate) {
    const uint32_t room = pipe_bytes(tcb);
    const uint32_t left = std::min(mss, room > mss ? room - mss : 0);
    flight.sacked_bytes += left;
    news.delivered_bytes += left;
  } else if (news.advanced) {
    const uint32_t beyond = news.acked_bytes > mss ? news.acked_bytes - mss : 0;
    const uint32_t known = std::min(tcb.phase == SendPhase::Recovery ? beyond : flight.sacked_bytes,
                                    flight.sacked_bytes);
    flight.sacked_bytes = std::min(flight.sacked_bytes - known, tcb.flight_bytes());
    news.delivered_bytes -= std::min(news.delivered_bytes, known);
  }
}

uint32_t newreno_detect_loss(Stack& stack, Tcb& tcb, const AckNews& news) {
  switch (tcb.phase) {
    case SendPhase::Open:  // RFC 6582 3.2, step 2: not for what an earlier recovery has sent twice
      if (tcb.dup_acks != kDupAckThreshold) return 0;
      if (!seq_less(tcb.in_flight->recover, tcb.snd_una)) return 0;
      return mark_first_lost(stack, tcb);
    case SendPhase::Recovery:  // step 3, partial acknowledgement: sent whatever cwnd is
      if (!news.advanced) return 0;
      tcb.in_flight->force_resend = true;
      return mark_first_lost(stack, tcb);
    case SendPhase::Loss:
      return 0;
  }
  return 0;
}

}  // namespace sluice::tcp
