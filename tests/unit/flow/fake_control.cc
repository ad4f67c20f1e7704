// Control without OpenSSL: reads rings, keeps what it was told by flow, queues answers.
#include "fake_control.h"

#include <gtest/gtest.h>

#include <cstring>

namespace sluice::flow::test {

void FakeControl::attach(Engine& engine, Micros now) {
  const abi::RegionShape shape{1, endpoints_};
  ASSERT_EQ(abi::Region::create(shape, ++epoch_, region_), abi::RegionError::None);
  from_engine_.clear();
  to_engine_.clear();
  for (uint32_t e = 0; e < endpoints_; ++e) {
    from_engine_.emplace_back(region_.ring(0, e, abi::Direction::ToControl));
    to_engine_.emplace_back(region_.ring(0, e, abi::Direction::ToWorker));
  }
  engine.attach(&region_, now);
}

void FakeControl::detach(Engine& engine, Micros now) {
  engine.detach(now);
  region_ = abi::Region();
  from_engine_.clear();
  to_engine_.clear();
  queue_.clear();
  by_id_.clear();
}

void FakeControl::step(Micros now) {
  if (!attached()) return;
  now_ = now;
  for (uint32_t e = 0; reading && e < endpoints_; ++e) {
    abi::MessageBuffer message;
    while (from_engine_[e].pop(message) == abi::RingResult::Ok) handle(e, message);
    EXPECT_FALSE(from_engine_[e].broken());
  }
  while (!queue_.empty() && queue_.front().due <= now) {
    const Queued& next = queue_.front();
    const abi::RingResult result =
        to_engine_[next.endpoint].push(next.bytes.data(), static_cast<uint32_t>(next.bytes.size()));
    if (result == abi::RingResult::Full) {
      queue_.front().due = now + 100;
      return;
    }
    queue_.pop_front();
  }
}

void FakeControl::handle(uint32_t endpoint, const abi::MessageBuffer& message) {
  if (abi::validate_for_control(message, region_.epoch(), 0) != abi::MessageError::None) {
    ++bad_messages;
    return;
  }
  const abi::FlowId id = message.header().flow;
  if (const auto* begin = message.as<abi::HandshakeBegin>()) {
    EXPECT_EQ(find(id), nullptr) << "begun twice";
    EXPECT_NE(endpoint, 0U);
    by_id_[{id.index, id.generation}] = handshakes.size();
    Handshake& handshake = handshakes.emplace_back();
    handshake.id = id;
    handshake.endpoint = endpoint;
    handshake.begin = *begin;
  } else if (const auto* bytes = message.as<abi::HandshakeBytes>()) {
    on_bytes(*bytes);
  } else if (const auto* end = message.as<abi::HandshakeEnd>()) {
    ends.push_back(*end);
    if (Handshake* const handshake = find(id)) {
      EXPECT_FALSE(handshake->ended) << "ended twice";
      handshake->ended = true;
      handshake->end = *end;
      if (answers_ends && end->awaits_answer != 0 && !handshake->installed) {
        close(*handshake, static_cast<abi::CloseReason>(end->reason));
      }
    }
  } else if (const auto* row = message.as<abi::FlowRow>()) {
    EXPECT_EQ(endpoint, 0U);
    rows.push_back(*row);
  } else if (const auto* listed = message.as<abi::FlowsEnd>()) {
    EXPECT_EQ(endpoint, 0U);
    listing_ends.push_back(*listed);
  }
}

void FakeControl::on_bytes(const abi::HandshakeBytes& message) {
  Handshake* const handshake = find(message.header.flow);
  ASSERT_NE(handshake, nullptr) << "bytes before HandshakeBegin";
  EXPECT_FALSE(handshake->ended);
  ASSERT_EQ(message.offset, handshake->stream.size()) << "a gap";
  Bytes& stream = handshake->stream;
  stream.insert(stream.end(), message.bytes, message.bytes + message.length);
  if (message.record_end == 0) return;
  handshake->records.emplace_back(
      stream.begin() + static_cast<std::ptrdiff_t>(handshake->record_start), stream.end());
  handshake->record_start = stream.size();
  // Whole records, cut where their headers say.
  const Bytes& record = handshake->records.back();
  ASSERT_GE(record.size(), abi::kRecordHeaderBytes);
  EXPECT_EQ(record.size(), abi::kRecordHeaderBytes + (record[3] << 8 | record[4]));
  if (on_record) on_record(*this, *handshake);
}

FakeControl::Handshake* FakeControl::find(const abi::FlowId& id) {
  const auto found = by_id_.find({id.index, id.generation});
  return found == by_id_.end() ? nullptr : &handshakes[found->second];
}

void FakeControl::transmit(const Handshake& handshake, const Bytes& bytes) {
  for (size_t at = 0; at < bytes.size(); at += abi::kMaxChunkBytes) {
    abi::TransmitBytes message;
    message.length =
        static_cast<uint16_t>(std::min<size_t>(abi::kMaxChunkBytes, bytes.size() - at));
    std::memcpy(message.bytes, bytes.data() + at, message.length);
    send(handshake.endpoint, message, handshake.id,
         static_cast<uint32_t>(offsetof(abi::TransmitBytes, bytes)) + message.length);
  }
}

void FakeControl::grant(Handshake& handshake, uint32_t bytes) {
  abi::GrantCredit message;
  message.bytes = bytes;
  handshake.granted += bytes;
  send(handshake.endpoint, message, handshake.id);
}

void FakeControl::install(Handshake& handshake, abi::InstallKeys keys, uint32_t consumed_bytes,
                          const abi::SocketAddress& backend) {
  keys.consumed_bytes = consumed_bytes;
  keys.backend = backend;
  keys.host_tag = 77;
  handshake.installed = true;
  send(handshake.endpoint, keys, handshake.id);
}

void FakeControl::close(const Handshake& handshake, abi::CloseReason reason, bool reset) {
  abi::CloseFlow message;
  message.reason = static_cast<uint16_t>(reason);
  message.reset = reset ? 1 : 0;
  send(handshake.endpoint, message, handshake.id);
}

void FakeControl::list(uint32_t first_index, uint32_t max_rows, uint64_t token) {
  abi::ListFlows message;
  message.token = token;
  message.first_index = first_index;
  message.max_rows = max_rows;
  send(0, message, abi::FlowId{});
}

void FakeControl::send_raw(uint32_t endpoint, const void* message, uint32_t length) {
  const auto* bytes = static_cast<const uint8_t*>(message);
  Micros due = now_ + delay_us;
  if (!queue_.empty()) due = std::max(due, queue_.back().due);
  queue_.push_back({due, endpoint, Bytes(bytes, bytes + length)});
}

}  // namespace sluice::flow::test
