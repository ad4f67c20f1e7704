// Each field of each message at its bounds: accepted inside, refused by name outside.
#include "abi/validate.h"

#include <gtest/gtest.h>

#include <functional>

#include "guarded.h"

namespace sluice::abi {
namespace {

using test::Guarded;

constexpr uint32_t kEpoch = 2;
constexpr uint16_t kCore = 1;
constexpr FlowId kFlow{9, kCore, 0, 100};

// The message in a buffer that ends at a guard page.
template <class M>
MessageError judge(const M& message, bool worker) {
  const Guarded<MessageBuffer> buffer;
  std::memcpy(buffer->bytes, &message, sizeof message);
  return worker ? validate_for_worker(*buffer, kEpoch, kCore)
                : validate_for_control(*buffer, kEpoch, kCore);
}

template <class M>
constexpr bool kForWorker = static_cast<uint16_t>(M::kType) >= 64;

template <class M>
M filled(uint32_t length = sizeof(M)) {
  M message;
  fill_header(message, kFlow, kEpoch, length);
  return message;
}

template <class M>
struct Row {
  const char* name;
  std::function<void(M&)> change;
  MessageError expected;
};

template <class M>
void expect_rows(const M& good, std::initializer_list<Row<M>> rows) {
  EXPECT_EQ(judge(good, kForWorker<M>), MessageError::None);
  EXPECT_EQ(judge(good, !kForWorker<M>), MessageError::WrongDirection);
  for (const Row<M>& row : rows) {
    M message = good;
    row.change(message);
    EXPECT_EQ(judge(message, kForWorker<M>), row.expected) << row.name;
  }
}

constexpr auto None = MessageError::None;
constexpr auto BadField = MessageError::BadField;
constexpr auto WrongLength = MessageError::WrongLength;

TEST(Validate, FixedMessagesHaveTheirExactLength) {
  const auto check = [](auto good) {
    using M = decltype(good);
    for (const int off : {-1, 1}) {
      M message = good;
      message.header.length = static_cast<uint16_t>(sizeof(M) + static_cast<size_t>(off));
      EXPECT_EQ(judge(message, kForWorker<M>), WrongLength) << static_cast<int>(M::kType);
    }
  };
  check(filled<HandshakeBegin>());
  check(filled<HandshakeEnd>());
  check(filled<FlowRow>());
  check(filled<FlowsEnd>());
  check(filled<GrantCredit>());
  check(filled<InstallKeys>());
  check(filled<CloseFlow>());
  check(filled<ListFlows>());
}

template <class M>
void check_chunks() {
  M chunk = filled<M>(offsetof(M, bytes) + 1);
  chunk.length = 1;
  expect_rows<M>(chunk, {
                            {"longest",
                             [](M& m) {
                               m.length = kMaxChunkBytes;
                               m.header.length = sizeof(M);
                             },
                             None},
                            {"empty",
                             [](M& m) {
                               m.length = 0;
                               m.header.length -= 1;
                             },
                             WrongLength},
                            {"header alone", [](M& m) { m.header.length = sizeof(MessageHeader); },
                             WrongLength},
                            {"promises more", [](M& m) { m.length = 2; }, WrongLength},
                            {"promises most", [](M& m) { m.length = 65535; }, WrongLength},
                            {"promises less", [](M& m) { m.header.length += 1; }, WrongLength},
                            {"over the most",
                             [](M& m) {
                               m.length = kMaxChunkBytes + 1;
                               m.header.length = 32 + 1985;
                             },
                             WrongLength},
                        });
}

TEST(Validate, ChunksEndWithTheirLastByte) {
  check_chunks<HandshakeBytes>();
  check_chunks<TransmitBytes>();
}

TEST(Validate, HandshakeBytes) {
  using M = HandshakeBytes;
  M good = filled<M>(offsetof(M, bytes) + 10);
  good.length = 10;
  constexpr uint32_t kMost = kMaxHandshakeBytes + kHandshakeCreditBytes;
  expect_rows<M>(good, {
                           {"ends a record", [](M& m) { m.record_end = 1; }, None},
                           {"record_end 2", [](M& m) { m.record_end = 2; }, BadField},
                           {"last byte", [](M& m) { m.offset = kMost - 10; }, None},
                           {"one further", [](M& m) { m.offset = kMost - 9; }, BadField},
                           {"wraps around", [](M& m) { m.offset = UINT32_MAX - 4; }, BadField},
                       });
}

TEST(Validate, SmallMessages) {
  expect_rows<HandshakeBegin>(filled<HandshakeBegin>(), {});
  expect_rows<HandshakeEnd>(
      filled<HandshakeEnd>(),
      {
          {"last reason", [](auto& m) { m.reason = kCloseReasons - 1; }, None},
          {"no reason", [](auto& m) { m.reason = kCloseReasons; }, BadField},
      });
  expect_rows<FlowRow>(filled<FlowRow>(),
                       {
                           {"last phase", [](auto& m) { m.phase = kFlowPhases - 1; }, None},
                           {"no phase", [](auto& m) { m.phase = kFlowPhases; }, BadField},
                           {"TLS 1.3", [](auto& m) { m.tls_version = 0x0304; }, None},
                           {"SSL 3", [](auto& m) { m.tls_version = 0x0300; }, BadField},
                           {"TLS 1.4", [](auto& m) { m.tls_version = 0x0305; }, BadField},
                       });
  GrantCredit credit = filled<GrantCredit>();
  credit.bytes = 1;
  expect_rows<GrantCredit>(
      credit, {
                  {"most", [](auto& m) { m.bytes = kMaxHandshakeBytes; }, None},
                  {"none", [](auto& m) { m.bytes = 0; }, BadField},
                  {"more", [](auto& m) { m.bytes = kMaxHandshakeBytes + 1; }, BadField},
                  {"all", [](auto& m) { m.bytes = UINT32_MAX; }, BadField},
              });
  CloseFlow end = filled<CloseFlow>();
  end.reason = 1;
  expect_rows<CloseFlow>(end,
                         {
                             {"reset", [](auto& m) { m.reset = 1; }, None},
                             {"reset 2", [](auto& m) { m.reset = 2; }, BadField},
                             {"not closed", [](auto& m) { m.reason = 0; }, BadField},
                             {"no reason", [](auto& m) { m.reason = kCloseReasons; }, BadField},
                             {"far reason", [](auto& m) { m.reason = 65535; }, BadField},
                         });
  ListFlows list = filled<ListFlows>();
  list.max_rows = 1;
  expect_rows<ListFlows>(list,
                         {
                             {"most", [](auto& m) { m.max_rows = kRingSlots / 2; }, None},
                             {"none", [](auto& m) { m.max_rows = 0; }, BadField},
                             {"more", [](auto& m) { m.max_rows = kRingSlots / 2 + 1; }, BadField},
                         });
}

TEST(Validate, OnlyMessagesAboutAFlowNameItsWorker) {
  const auto off_core = [](MessageHeader& header) { header.flow.core = kCore + 1; };
  ListFlows list = filled<ListFlows>();
  list.max_rows = 1;
  off_core(list.header);
  EXPECT_EQ(judge(list, true), None);
  FlowsEnd end = filled<FlowsEnd>();
  off_core(end.header);
  EXPECT_EQ(judge(end, false), None);
  FlowRow row = filled<FlowRow>();
  off_core(row.header);
  EXPECT_EQ(judge(row, false), BadField);
  HandshakeEnd over = filled<HandshakeEnd>();
  off_core(over.header);
  EXPECT_EQ(judge(over, false), BadField);
}

TEST(Validate, WithoutAWorkerAnyPossibleOneWillDo) {
  MessageBuffer buffer;
  GrantCredit credit = filled<GrantCredit>();
  credit.bytes = 1;
  credit.header.flow.core = kMaxWorkers - 1;
  std::memcpy(buffer.bytes, &credit, sizeof credit);
  EXPECT_EQ(validate_for_worker(buffer, kEpoch), None);
  credit.header.flow.core = kMaxWorkers;
  std::memcpy(buffer.bytes, &credit, sizeof credit);
  EXPECT_EQ(validate_for_worker(buffer, kEpoch), BadField);
}

InstallKeys good_keys(uint16_t version, DirectionKeys lengths) {
  InstallKeys keys = filled<InstallKeys>();
  lengths.fragment_limit_bytes = kMaxPlaintextBytes;
  keys.version = version;
  keys.suite = 0x1301;
  keys.consumed_bytes = 500;
  keys.backend.port = 8080;
  keys.open = keys.seal = lengths;
  return keys;
}

DirectionKeys lengths(uint8_t secret, uint8_t key, uint8_t mac_key, uint8_t iv) {
  DirectionKeys keys;
  keys.secret_length = secret;
  keys.key_length = key;
  keys.mac_key_length = mac_key;
  keys.iv_length = iv;
  return keys;
}

TEST(Validate, InstallKeysOfEachVersion) {
  struct Row {
    uint16_t version;
    DirectionKeys keys;
    MessageError expected;
  };
  const Row rows[] = {
      {0x0304, lengths(32, 0, 0, 0), None},       {0x0304, lengths(48, 0, 0, 0), None},
      {0x0304, lengths(0, 0, 0, 0), BadField},    {0x0304, lengths(33, 0, 0, 0), BadField},
      {0x0304, lengths(255, 0, 0, 0), BadField},  {0x0304, lengths(32, 16, 0, 0), BadField},
      {0x0304, lengths(32, 0, 20, 0), BadField},  {0x0304, lengths(32, 0, 0, 12), BadField},
      {0x0303, lengths(0, 16, 0, 4), None},   // AES-128-GCM
      {0x0303, lengths(0, 32, 0, 4), None},   // AES-256-GCM
      {0x0303, lengths(0, 32, 0, 12), None},  // ChaCha20-Poly1305
      {0x0303, lengths(0, 16, 20, 0), None},  // AES-128-CBC, HMAC-SHA1
      {0x0303, lengths(0, 32, 48, 0), None},  // AES-256-CBC, HMAC-SHA384
      {0x0303, lengths(0, 16, 0, 0), BadField},   {0x0303, lengths(0, 16, 0, 16), BadField},
      {0x0303, lengths(0, 0, 0, 4), BadField},    {0x0303, lengths(0, 33, 0, 4), BadField},
      {0x0303, lengths(0, 255, 0, 4), BadField},  {0x0303, lengths(32, 16, 0, 4), BadField},
      {0x0303, lengths(0, 16, 49, 0), BadField},  {0x0303, lengths(0, 16, 255, 0), BadField},
      {0x0303, lengths(0, 16, 20, 17), BadField}, {0x0302, lengths(0, 16, 20, 0), None},
      {0x0302, lengths(0, 16, 0, 4), BadField},  // no AEAD before TLS 1.2
      {0x0302, lengths(0, 16, 20, 16), BadField},  // the key block has IVs in TLS 1.0 alone
      {0x0303, lengths(0, 16, 20, 16), BadField}, {0x0301, lengths(0, 16, 20, 0), BadField},
      {0x0302, lengths(0, 16, 32, 0), BadField},  // HMAC-SHA1 alone before TLS 1.2
      {0x0301, lengths(0, 32, 48, 16), BadField}, {0x0303, lengths(0, 16, 0, 12), BadField},
      {0x0301, lengths(0, 16, 20, 16), None},     {0x0300, lengths(0, 16, 20, 16), BadField},
      {0x0305, lengths(32, 0, 0, 0), BadField},   {0x0000, lengths(32, 0, 0, 0), BadField},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(judge(good_keys(row.version, row.keys), true), row.expected)
        << std::hex << row.version << std::dec << " secret " << int{row.keys.secret_length}
        << " key " << int{row.keys.key_length} << " mac " << int{row.keys.mac_key_length} << " iv "
        << int{row.keys.iv_length};
  }
}

TEST(Validate, InstallKeysFields) {
  using M = InstallKeys;
  constexpr uint32_t kMost = kMaxHandshakeBytes + kHandshakeCreditBytes;
  expect_rows<M>(
      good_keys(0x0304, lengths(32, 0, 0, 0)),
      {
          {"no suite", [](M& m) { m.suite = 0; }, BadField},
          {"EtM with AEAD", [](M& m) { m.encrypt_then_mac = 1; }, BadField},
          {"longest ALPN", [](M& m) { m.alpn_length = 32; }, None},
          {"ALPN too long", [](M& m) { m.alpn_length = 33; }, BadField},
          {"no backend", [](M& m) { m.backend.port = 0; }, BadField},
          {"nothing consumed", [](M& m) { m.consumed_bytes = 0; }, BadField},
          {"all consumed", [](M& m) { m.consumed_bytes = kMost; }, None},
          {"more consumed", [](M& m) { m.consumed_bytes = kMost + 1; }, BadField},
          {"shortest fragments", [](M& m) { m.seal.fragment_limit_bytes = 64; }, None},
          {"shorter fragments", [](M& m) { m.seal.fragment_limit_bytes = 63; }, BadField},
          {"no fragments", [](M& m) { m.seal.fragment_limit_bytes = 0; }, BadField},
          {"long fragments", [](M& m) { m.open.fragment_limit_bytes = 16385; }, BadField},
          {"two hashes", [](M& m) { m.seal.secret_length = 48; }, BadField},
          {"one direction", [](M& m) { m.open = DirectionKeys{}; }, BadField},
      });
  expect_rows<M>(good_keys(0x0303, lengths(0, 16, 32, 0)),
                 {
                     {"EtM with CBC", [](M& m) { m.encrypt_then_mac = 1; }, None},
                     {"EtM 2", [](M& m) { m.encrypt_then_mac = 2; }, BadField},
                     {"two key lengths", [](M& m) { m.seal.key_length = 32; }, BadField},
                     {"two MAC lengths", [](M& m) { m.seal.mac_key_length = 20; }, BadField},
                     {"two IV lengths", [](M& m) { m.open.iv_length = 16; }, BadField},
                 });
}

TEST(Validate, ErrorsHaveTexts) {
  EXPECT_STREQ(message_error_text(MessageError::None), "none");
  EXPECT_STREQ(message_error_text(MessageError::WrongEpoch), "wrong epoch");
}

}  // namespace
}  // namespace sluice::abi
