// CBC records of many flows between queueing and completion. Filled and emptied within one
// Engine::serve; nothing waits in it from one poll to the next.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "net/record_pool.h"
#include "tls/cbc.h"

namespace sluice::flow {

// Whose a queued record is, and where its bytes lie. `buffer` has one reference of the batch's own:
// the flow may end first.
struct QueuedRecord {
  uint32_t flow_index = 0;
  uint32_t flow_generation = 0;
  net::RecordBuffer* buffer = nullptr;
  uint32_t end_bytes = 0;     // offset behind the record's room in `buffer`
  uint32_t sealed_bytes = 0;  // of a record to the client
};

template <class Job>
class RecordQueue {
 public:
  bool full() const { return count_ == tls::kCbcBatchRecords; }
  bool empty() const { return count_ == 0; }
  std::span<Job> jobs() { return {jobs_.data(), count_}; }
  const QueuedRecord& record(uint32_t i) const { return records_[i]; }
  // The next place; the caller fills the job.
  Job& add(const QueuedRecord& record) {
    records_[count_] = record;
    return jobs_[count_++];
  }
  void clear() { count_ = 0; }

 private:
  std::array<Job, tls::kCbcBatchRecords> jobs_;
  std::array<QueuedRecord, tls::kCbcBatchRecords> records_;
  uint32_t count_ = 0;
};

struct CbcBatch {
  RecordQueue<tls::CbcSeal> seals;
  RecordQueue<tls::CbcOpen> opens;
  bool empty() const { return seals.empty() && opens.empty(); }
  bool full() const { return seals.full() || opens.full(); }
};

}  // namespace sluice::flow
