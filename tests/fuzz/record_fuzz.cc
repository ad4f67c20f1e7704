// Everything that reads a client's bytes in the record layer: classification, framing, opening and
// what records mean. The first byte picks the suite and how pieces are cut. Half of the input is
// taken as a raw stream (refused by tags sooner or later), half as plaintexts that a client seals
// properly, so that what lies behind the tag is reached.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "tls/limits.h"
#include "tls/open.h"
#include "tls/post_handshake.h"
#include "tls/seal.h"

namespace {

using namespace sluice;

const crypto::Provider& provider() {
  static const auto created = crypto::Provider::create();
  if (!created) std::abort();
  return *created;
}

abi::InstallKeys make_keys(uint16_t suite_id) {
  const crypto::Suite* suite = crypto::find_suite(suite_id);
  abi::InstallKeys message;
  message.suite = suite_id;
  message.version = static_cast<uint16_t>(suite->max_version);
  uint8_t fill = 1;
  for (abi::DirectionKeys* keys : {&message.open, &message.seal}) {
    keys->fragment_limit_bytes = abi::kMaxPlaintextBytes;
    if (suite->is_valid_in(crypto::TlsVersion::Tls13)) {
      keys->secret_length = static_cast<uint8_t>(crypto::hash_length(suite->hash));
      std::fill_n(keys->secret, keys->secret_length, fill++);
    } else {
      keys->key_length = suite->key_length;
      keys->iv_length = suite->iv_length;
      std::fill_n(keys->key, keys->key_length, fill++);
    }
  }
  return message;
}

struct End {
  explicit End(const abi::InstallKeys& message) {
    if (!tls::install_keys(layer, message, keys)) std::abort();
  }
  ~End() { tls::end_keys(layer, keys); }

  abi::Counters counters;
  tls::KeyCache cache{2, counters};
  tls::RecordLayer layer{provider(), cache, counters};
  tls::FlowKeys keys;
};

std::vector<crypto::ConstPiece> cut(std::span<const uint8_t> bytes, size_t piece) {
  std::vector<crypto::ConstPiece> pieces;
  while (!bytes.empty()) {
    const size_t length = std::min(piece, bytes.size());
    pieces.push_back({bytes.data(), static_cast<uint32_t>(length)});
    bytes = bytes.subspan(length);
  }
  return pieces;
}

// Opens the records of a stream until one is refused or closes.
void serve(End& server, std::span<const uint8_t> stream, size_t piece) {
  const auto phase = server.keys.tls13() ? tls::RecordPhase::Tls13 : tls::RecordPhase::Tls12;
  while (true) {
    const tls::Frame frame = tls::next_record(phase, stream);
    if (frame.verdict != tls::Verdict::Accept || frame.record_bytes > stream.size()) return;
    const auto pieces = cut(stream.first(frame.record_bytes), piece);
    stream = stream.subspan(frame.record_bytes);
    std::vector<uint8_t> out(tls::open_output_bytes(server.keys, frame.header.length));
    const tls::OpenResult opened =
        tls::open_record(server.layer, server.keys, pieces, out.data());
    if (opened.verdict != tls::Verdict::Accept) {
      if (!std::all_of(out.begin(), out.end(), [](uint8_t byte) { return byte == 0; })) {
        std::abort();
      }
      return;
    }
    out.resize(opened.length);
    std::vector<uint8_t> reply(tls::kMaxReplyBytes);
    const tls::Action action =
        tls::handle_record(server.layer, server.keys, opened.type, out, reply.data());
    if (action.reply_bytes > reply.size()) std::abort();
    if (action.kind == tls::ActionKind::Close) return;
  }
}

// The input as plaintexts: a type byte, a length byte, content. Types that no record has become
// handshake messages, so that those are seen often.
void serve_sealed(End& server, End& client, std::span<const uint8_t> input, size_t piece) {
  std::vector<uint8_t> stream;
  while (input.size() >= 2) {
    const size_t length = std::min<size_t>(input[1], input.size() - 2);
    const uint8_t type = input[0] >= 19 && input[0] <= 25 ? input[0] : 22;
    const auto content = cut(input.subspan(2, length), 7);
    std::vector<uint8_t> record(tls::sealed_size(client.keys, static_cast<uint32_t>(length)));
    if (tls::seal_record(client.layer, client.keys, static_cast<tls::ContentType>(type), content,
                         record.data()) == 0) {
      std::abort();
    }
    stream.insert(stream.end(), record.begin(), record.end());
    input = input.subspan(2 + length);
    // As a client would: behind a KeyUpdate comes the next key.
    if (client.keys.tls13() && type == 22 && length == 5 && record.size() > 5) {
      serve(server, stream, piece);
      stream.clear();
      if (server.keys.open.key_generation() != client.keys.seal.key_generation()) {
        tls::update_keys(client.layer, client.keys, tls::Direction::Seal);
      }
    }
  }
  serve(server, stream, piece);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  static constexpr uint16_t kSuites[] = {0x1301, 0x1302, 0xC02F, 0xC030};
  const std::span<const uint8_t> input(data + 1, size - 1);
  const size_t piece = 1U + (data[0] >> 3);

  // More bytes never change an answer.
  const tls::Verdict whole_start = tls::classify_start(input).verdict;
  const tls::Verdict half_start = tls::classify_start(input.first(input.size() / 2)).verdict;
  if (half_start != tls::Verdict::NeedMore && half_start != whole_start) std::abort();
  for (const auto phase :
       {tls::RecordPhase::BeforeServer, tls::RecordPhase::Handshake,
        tls::RecordPhase::HandshakeProtected, tls::RecordPhase::Tls12, tls::RecordPhase::Tls13}) {
    const auto pieces = cut(input.first(std::min<size_t>(input.size(), 16)), 1 + piece % 5);
    const tls::Frame whole = tls::next_record(phase, input);
    const tls::Frame in_pieces =
        tls::next_record(phase, std::span<const crypto::ConstPiece>(pieces));
    if (whole.verdict != in_pieces.verdict) std::abort();
  }

  abi::InstallKeys message = make_keys(kSuites[data[0] & 3]);
  End server(message);
  if ((data[0] & 4) == 0) {
    serve(server, input, piece);
    return 0;
  }
  std::swap(message.open, message.seal);
  End client(message);
  serve_sealed(server, client, input, piece);
  return 0;
}
