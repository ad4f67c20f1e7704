// RFC 8448, all five traces: every protected record opened, and sealed again to the same bytes,
// each direction with one set of keys from its first record to its last.
#include <gtest/gtest.h>

#include <map>

#include "fixture.h"
#include "tls/open.h"
#include "tls/seal.h"
#include "vectors.h"

namespace sluice::tls::test {
namespace {

using crypto::test::Vector;

// Keys of the server, whose client seals under `secret` from its first record on.
abi::InstallKeys keys_from(const Bytes& secret) {
  abi::InstallKeys message = make_keys(kAes128Tls13);
  EXPECT_EQ(secret.size(), 32U);
  std::copy(secret.begin(), secret.end(), message.open.secret);
  message.open.sequence = 0;
  return message;
}

void check_record(Pair& pair, const Vector& vector) {
  const Bytes record = vector.bytes("Record");
  const Bytes payload = vector.bytes("Payload");
  const auto type = static_cast<ContentType>(vector.bytes("Type").at(0));
  ASSERT_EQ(pair.server.keys.open.sequence(), std::stoul(vector.text("Sequence")));

  const Frame frame = next_record(RecordPhase::Tls13, record);
  ASSERT_EQ(frame.verdict, Verdict::Accept);
  ASSERT_EQ(frame.record_bytes, record.size());
  const auto length = static_cast<uint32_t>(record.size()) - abi::kRecordHeaderBytes;
  Bytes out(open_output_bytes(pair.server.keys, length));
  ConstPiece piece;
  const OpenResult opened =
      open_record(pair.server.layer, pair.server.keys, one_piece(record, piece), out.data());
  ASSERT_EQ(opened.verdict, Verdict::Accept);
  EXPECT_EQ(opened.type, type);
  out.resize(opened.length);
  EXPECT_EQ(out, payload);

  EXPECT_EQ(pair.client_seals(type, payload), record);
}

TEST(Rfc8448, EveryRecordOfEveryTrace) {
  std::map<std::string, std::unique_ptr<Pair>> directions;
  int rows = 0;
  for (const Vector& vector : crypto::test::read_vectors("rfc8448/traces.txt")) {
    SCOPED_TRACE(vector.name());
    auto& pair = directions[vector.text("Secret")];
    if (!pair) pair = std::make_unique<Pair>(keys_from(vector.bytes("Secret")));
    check_record(*pair, vector);
    ++rows;
  }
  EXPECT_EQ(rows, 27);
  // Five handshakes with four secrets each, and one with early data.
  EXPECT_EQ(directions.size(), 21U);
}

}  // namespace
}  // namespace sluice::tls::test
