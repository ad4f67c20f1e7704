// Framing and classification by tables: bytes in -> verdict, reason, alert out.
#include "tls/record.h"

#include <gtest/gtest.h>

#include <string>

#include "fixture.h"

namespace sluice::tls::test {
namespace {

using abi::CloseReason;

Bytes text(const std::string& string) { return {string.begin(), string.end()}; }

Bytes record_bytes(uint8_t type, uint16_t version, const Bytes& body) {
  Bytes bytes(abi::kRecordHeaderBytes);
  write_header(bytes.data(), static_cast<ContentType>(type), version,
               static_cast<uint32_t>(body.size()));
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

// A ClientHello of 60 bytes with this client_version.
Bytes hello(uint16_t client_version) {
  Bytes bytes(60);
  bytes[0] = 1;
  bytes[3] = 56;
  bytes[4] = static_cast<uint8_t>(client_version >> 8);
  bytes[5] = static_cast<uint8_t>(client_version);
  return bytes;
}

// The hello in records of `fragment` bytes.
Bytes fragmented(uint16_t record_version, const Bytes& message, size_t fragment) {
  Bytes stream;
  for (size_t at = 0; at < message.size(); at += fragment) {
    const size_t end = std::min(message.size(), at + fragment);
    const Bytes part(message.begin() + static_cast<long>(at),
                     message.begin() + static_cast<long>(end));
    const Bytes bytes = record_bytes(22, record_version, part);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
  }
  return stream;
}

Bytes append(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct StartRow {
  const char* name;
  Bytes bytes;
  Verdict verdict;
  CloseReason reason = CloseReason::none;
  Alert alert = Alert::none;
};

std::vector<StartRow> start_rows() {
  constexpr auto Refuse = Verdict::Refuse;
  constexpr auto Accept = Verdict::Accept;
  constexpr auto More = Verdict::NeedMore;
  const Bytes one_byte_record = {22, 3, 1, 0, 1, 1};
  return {
      {"nothing", {}, More},
      {"http", text("GET / HTTP/1.1\r\n"), Refuse, CloseReason::not_tls},
      {"ssh", text("SSH-2.0-OpenSSH_9.2"), Refuse, CloseReason::not_tls},
      {"proxy v1", text("PROXY TCP4 1.2.3.4"), Refuse, CloseReason::not_tls},
      {"zeros", Bytes(64), Refuse, CloseReason::not_tls},
      {"type 24", {24, 3, 3}, Refuse, CloseReason::not_tls},
      {"type 19", {19}, Refuse, CloseReason::not_tls},
      {"handshake of major 2", {22, 2}, Refuse, CloseReason::not_tls},
      {"alert byte of something else", {21, 0}, Refuse, CloseReason::not_tls},
      {"sslv2 of 2.0", {0x80, 0x2e, 1, 0, 2, 0, 0x15}, Refuse, CloseReason::sslv2_hello},
      {"sslv2 of 3.1", {0x80, 0x2e, 1, 3, 1}, Refuse, CloseReason::sslv2_hello},
      {"sslv2 of 3.3, long", {0xff, 0xff, 1, 3, 3}, Refuse, CloseReason::sslv2_hello},
      {"sslv2 of 4.0", {0x80, 0x2e, 1, 4, 0}, Refuse, CloseReason::not_tls},
      {"sslv2, four bytes", {0x80, 0x2e, 1, 3}, More},
      {"sslv2, two bytes", {0x80, 0x2e}, More},
      {"top bit, other type", {0x80, 0x2e, 2}, Refuse, CloseReason::not_tls},
      {"tls 1.0", record_bytes(22, 0x0301, hello(0x0301)), Accept},
      {"tls 1.2", record_bytes(22, 0x0303, hello(0x0303)), Accept},
      {"record 3.0, hello 3.3", record_bytes(22, 0x0300, hello(0x0303)), Accept},
      {"record 3.9, hello 3.3", record_bytes(22, 0x0309, hello(0x0303)), Accept},
      {"hello of 2.0 inside", record_bytes(22, 0x0301, hello(0x0200)), Accept},
      {"sslv3", record_bytes(22, 0x0300, hello(0x0300)), Refuse, CloseReason::sslv3_hello,
       Alert::protocol_version},
      {"record 3.1, hello 3.0", record_bytes(22, 0x0301, hello(0x0300)), Refuse,
       CloseReason::sslv3_hello, Alert::protocol_version},
      {"hello in one-byte records", fragmented(0x0301, hello(0x0303), 1), Accept},
      {"sslv3 in one-byte records", fragmented(0x0300, hello(0x0300), 1), Refuse,
       CloseReason::sslv3_hello, Alert::protocol_version},
      {"hello in five-byte records", fragmented(0x0301, hello(0x0303), 5), Accept},
      {"ten bytes", {22, 3, 1, 0, 60, 1, 0, 0, 56, 3}, More},
      {"server hello", record_bytes(22, 0x0303, {2, 0, 0, 56, 3, 3}), Refuse,
       CloseReason::unexpected_record_type, Alert::unexpected_message},
      {"empty handshake", {22, 3, 1, 0, 0}, Refuse, CloseReason::unexpected_record_type,
       Alert::unexpected_message},
      {"2^14", {22, 3, 1, 0x40, 0}, More},
      {"2^14 + 1", {22, 3, 1, 0x40, 1}, Refuse, CloseReason::record_overflow,
       Alert::record_overflow},
      {"65535", {22, 3, 3, 0xff, 0xff}, Refuse, CloseReason::record_overflow,
       Alert::record_overflow},
      {"alert", {21, 3, 3, 0, 2, 2, 40}, Refuse, CloseReason::client_alert},
      {"data", {23, 3, 3}, Refuse, CloseReason::unexpected_record_type, Alert::unexpected_message},
      {"ccs", {20, 3, 3, 0, 1, 1}, Refuse, CloseReason::unexpected_record_type,
       Alert::unexpected_message},
      {"second record: data", append(one_byte_record, {23, 3, 1}), Refuse,
       CloseReason::unexpected_record_type, Alert::unexpected_message},
      {"second record: alert", append(one_byte_record, {21, 3, 1}), Refuse,
       CloseReason::client_alert},
      {"second record: nonsense", append(one_byte_record, {71}), Refuse,
       CloseReason::unexpected_record_type, Alert::unexpected_message},
      {"second record: other major", append(one_byte_record, {22, 4}), Refuse,
       CloseReason::bad_record_version, Alert::protocol_version},
  };
}

TEST(ClassifyStart, Table) {
  for (const StartRow& row : start_rows()) {
    const Classification got = classify_start(row.bytes);
    EXPECT_EQ(got.verdict, row.verdict) << row.name;
    EXPECT_EQ(got.refusal.reason, row.reason) << row.name;
    EXPECT_EQ(got.refusal.alert, row.alert) << row.name;
  }
}

// Fed byte by byte the answer is the same, comes once, and stays.
TEST(ClassifyStart, MoreBytesNeverChangeAnAnswer) {
  for (const StartRow& row : start_rows()) {
    Verdict last = Verdict::NeedMore;
    for (size_t count = 0; count <= row.bytes.size(); ++count) {
      const Classification got = classify_start({row.bytes.data(), count});
      if (last != Verdict::NeedMore) {
        EXPECT_EQ(got.verdict, last) << row.name << " at " << count;
      }
      last = got.verdict;
    }
    EXPECT_EQ(last, row.verdict) << row.name;
  }
}

TEST(ClassifyStart, EnoughBytesAlwaysDecide) {
  std::mt19937 random(7);
  for (int round = 0; round < 200000; ++round) {
    Bytes bytes = random_bytes(kMaxClassifyBytes, random);
    if (round % 2 == 0) {  // the worst case: a hello in one-byte records
      const Bytes stream = fragmented(0x0301, hello(0x0303), 1);
      std::copy_n(stream.begin(), bytes.size(), bytes.begin());
      bytes[random() % bytes.size()] ^= static_cast<uint8_t>(1U << (random() % 8));
    }
    bytes[3] = 0;  // no first record that is longer than what there is
    bytes[4] = bytes[4] % 32;
    const Classification got = classify_start(bytes);
    const bool decided = got.verdict != Verdict::NeedMore;
    EXPECT_TRUE(decided) << "round " << round;
  }
}

struct FrameRow {
  const char* name;
  RecordPhase phase;
  Bytes bytes;
  Verdict verdict;
  CloseReason reason = CloseReason::none;
  Alert alert = Alert::none;
};

Bytes header(uint8_t type, uint16_t version, uint32_t length) {
  Bytes bytes(abi::kRecordHeaderBytes);
  write_header(bytes.data(), static_cast<ContentType>(type), version, length);
  return bytes;
}

std::vector<FrameRow> frame_rows() {
  constexpr auto Refuse = Verdict::Refuse;
  constexpr auto Accept = Verdict::Accept;
  constexpr auto More = Verdict::NeedMore;
  constexpr auto Before = RecordPhase::BeforeServer;
  constexpr auto Hs = RecordPhase::Handshake;
  constexpr auto HsProtected = RecordPhase::HandshakeProtected;
  constexpr auto T10 = RecordPhase::Tls10;
  constexpr auto T11 = RecordPhase::Tls11;
  constexpr auto T12 = RecordPhase::Tls12;
  constexpr auto T13 = RecordPhase::Tls13;
  constexpr auto Type = CloseReason::unexpected_record_type;
  constexpr auto Version = CloseReason::bad_record_version;
  constexpr auto Overflow = CloseReason::record_overflow;
  constexpr auto Unexpected = Alert::unexpected_message;
  return {
      {"nothing", T13, {}, More},
      {"four bytes", T13, {23, 3, 3, 0}, More},
      {"before: hello", Before, header(22, 0x0301, 512), Accept},
      {"before: early data", Before, header(23, 0x0303, 16640), Accept},
      {"before: early data too long", Before, header(23, 0x0303, 16641), Refuse, Overflow,
       Alert::record_overflow},
      {"before: plaintext too long", Before, header(22, 0x0303, 16385), Refuse, Overflow,
       Alert::record_overflow},
      {"before: type 24", Before, {24}, Refuse, Type, Unexpected},
      {"before: major 2", Before, {22, 2, 0}, Refuse, Version, Alert::protocol_version},
      {"before: empty handshake", Before, header(22, 0x0303, 0), Refuse, Type, Unexpected},
      {"before: empty ccs", Before, header(20, 0x0303, 0), Refuse, Type, Unexpected},
      {"before: empty data", Before, header(23, 0x0303, 0), Accept},
      {"handshake: 2^14", Hs, header(22, 0x0303, 16384), Accept},
      {"handshake: plaintext too long, no alert", Hs, header(22, 0x0303, 16385), Refuse, Overflow},
      {"handshake: ccs", Hs, {20, 3, 3, 0, 1, 1}, Accept},
      {"handshake: ccs without its byte", Hs, header(20, 0x0303, 1), More},
      {"handshake: ccs of 0", Hs, {20, 3, 3, 0, 1, 0}, Refuse, Type},
      {"handshake: ccs of 2", Hs, {20, 3, 3, 0, 1, 2}, Refuse, Type},
      {"handshake: ccs of two bytes", Hs, {20, 3, 3, 0, 2, 1, 1}, Refuse, Type},
      {"before: ccs", Before, {20, 3, 3, 0, 1, 1}, Accept},  // RFC 8446 D.4: behind the hello
      {"before: ccs of 2", Before, {20, 3, 3, 0, 1, 2}, Refuse, Type, Unexpected},
      {"protected: another ccs", HsProtected, {20, 3, 3, 0, 1, 1}, Accept},
      {"protected: ccs of 255", HsProtected, {20, 3, 3, 0, 1, 255}, Refuse, Type},
      {"handshake: alert", Hs, header(21, 0x0303, 2), Accept},
      {"handshake: type 0, no alert", Hs, {0}, Refuse, Type},
      {"protected: finished of 1.2", HsProtected, header(22, 0x0303, 40), Accept},
      {"protected: 2^14 + 2048", HsProtected, header(22, 0x0303, 18432), Accept},
      {"protected: one more", HsProtected, header(22, 0x0303, 18433), Refuse, Overflow},
      {"protected: 1.3 keeps its bound", HsProtected, header(23, 0x0303, 16641), Refuse, Overflow},
      {"1.2: data", T12, header(23, 0x0303, 18432), Accept},
      {"1.2: one more", T12, header(23, 0x0303, 18433), Refuse, Overflow, Alert::record_overflow},
      {"1.2: alert", T12, header(21, 0x0303, 26), Accept},
      {"1.2: handshake", T12, header(22, 0x0303, 300), Accept},
      {"1.2: ccs", T12, header(20, 0x0303, 1), Refuse, Type, Unexpected},
      {"1.2: version 3.2", T12, {23, 3, 2}, Refuse, Version, Alert::protocol_version},
      {"1.2: heartbeat", T12, {24}, Refuse, Type, Unexpected},
      {"1.1: data", T11, header(23, 0x0302, 18432), Accept},
      {"1.1: one more", T11, header(23, 0x0302, 18433), Refuse, Overflow, Alert::record_overflow},
      {"1.1: version 3.3", T11, {23, 3, 3}, Refuse, Version, Alert::protocol_version},
      {"1.1: ccs", T11, {20, 3, 2, 0, 1, 1}, Refuse, Type, Unexpected},
      {"1.0: data", T10, header(23, 0x0301, 18432), Accept},
      {"1.0: version 3.0", T10, {23, 3, 0}, Refuse, Version, Alert::protocol_version},
      {"1.0: version 3.2", T10, {23, 3, 2}, Refuse, Version, Alert::protocol_version},
      {"1.0: ccs", T10, {20, 3, 1, 0, 1, 1}, Refuse, Type, Unexpected},
      {"1.3: data", T13, header(23, 0x0303, 16640), Accept},
      {"1.3: one more", T13, header(23, 0x0303, 16641), Refuse, Overflow, Alert::record_overflow},
      {"1.3: version is ignored", T13, header(23, 0x1234, 100), Accept},
      {"1.3: ccs", T13, {20}, Refuse, Type, Unexpected},
      {"1.3: plaintext alert", T13, {21}, Refuse, Type, Unexpected},
      {"1.3: plaintext handshake", T13, {22}, Refuse, Type, Unexpected},
      {"1.3: http", T13, text("GET /"), Refuse, Type, Unexpected},
  };
}

TEST(NextRecord, Table) {
  for (const FrameRow& row : frame_rows()) {
    const Frame got = next_record(row.phase, row.bytes);
    EXPECT_EQ(got.verdict, row.verdict) << row.name;
    EXPECT_EQ(got.refusal.reason, row.reason) << row.name;
    EXPECT_EQ(got.refusal.alert, row.alert) << row.name;
    if (row.verdict == Verdict::Accept) {
      EXPECT_EQ(got.header.type, row.bytes[0]) << row.name;
      EXPECT_EQ(got.record_bytes, 5U + got.header.length) << row.name;
    }
  }
}

TEST(NextRecord, SameOverPieces) {
  for (const FrameRow& row : frame_rows()) {
    std::mt19937 random(3);
    for (int round = 0; round < 16; ++round) {
      const auto pieces = cut(row.bytes, 3, random);
      const Frame got = next_record(row.phase, std::span<const ConstPiece>(pieces));
      EXPECT_EQ(got.verdict, row.verdict) << row.name;
      EXPECT_EQ(got.refusal.reason, row.reason) << row.name;
    }
  }
}

TEST(NextRecord, OnlyAChangeCipherSpecAfterTheServerProtects) {
  EXPECT_EQ(phase_after(RecordPhase::Handshake, 20), RecordPhase::HandshakeProtected);
  EXPECT_EQ(phase_after(RecordPhase::Handshake, 22), RecordPhase::Handshake);
  EXPECT_EQ(phase_after(RecordPhase::BeforeServer, 20), RecordPhase::BeforeServer);
  EXPECT_EQ(phase_after(RecordPhase::HandshakeProtected, 22), RecordPhase::HandshakeProtected);
  EXPECT_EQ(phase_after(RecordPhase::Tls10, 20), RecordPhase::Tls10);
  EXPECT_EQ(phase_after(RecordPhase::Tls12, 20), RecordPhase::Tls12);
  EXPECT_EQ(phase_after(RecordPhase::Tls13, 20), RecordPhase::Tls13);
}

TEST(PlainAlert, IsAWholeRecordInTheClientsVersion) {
  const auto overflow = plain_alert({CloseReason::record_overflow, Alert::record_overflow});
  EXPECT_EQ(Bytes(overflow.begin(), overflow.end()), (Bytes{21, 3, 3, 0, 2, 2, 22}));
  const auto old = plain_alert({CloseReason::sslv3_hello, Alert::protocol_version});
  EXPECT_EQ(Bytes(old.begin(), old.end()), (Bytes{21, 3, 0, 0, 2, 2, 70}));
}

TEST(AlertName, EveryNameOnceAndUnknown) {
  EXPECT_STREQ(alert_name(0), "close_notify");
  EXPECT_STREQ(alert_name(20), "bad_record_mac");
  EXPECT_STREQ(alert_name(120), "no_application_protocol");
  EXPECT_STREQ(alert_name(99), "unknown");
  EXPECT_STREQ(alert_name(255), "none");
}

}  // namespace
}  // namespace sluice::tls::test
