// Framing, and what records mean: classification, headers in every phase, and plaintexts that a
// client seals properly, so that what lies behind the tag is reached. The first byte picks the
// suite, the second how pieces are cut. (open_fuzz forges.)
#include <algorithm>

#include "record_keys.h"
#include "tls/limits.h"
#include "tls/post_handshake.h"

namespace {

using namespace sluice;
using fuzz::cut;
using fuzz::End;

// Opens the records of a stream until one is refused or closes.
void serve(End& server, std::span<const uint8_t> stream, size_t piece) {
  const auto phase = tls::phase_of(server.keys);
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
    const auto record = fuzz::seal(client, static_cast<tls::ContentType>(type), content);
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
  if (size < 2) return 0;
  const std::span<const uint8_t> input(data + 2, size - 2);
  const size_t piece = 1U + (data[1] >> 3);

  // More bytes never change an answer.
  const tls::Verdict whole_start = tls::classify_start(input).verdict;
  const tls::Verdict half_start = tls::classify_start(input.first(input.size() / 2)).verdict;
  if (half_start != tls::Verdict::NeedMore && half_start != whole_start) std::abort();
  for (const auto phase :
       {tls::RecordPhase::BeforeServer, tls::RecordPhase::Handshake,
        tls::RecordPhase::HandshakeProtected, tls::RecordPhase::Tls10, tls::RecordPhase::Tls11,
        tls::RecordPhase::Tls12, tls::RecordPhase::Tls13}) {
    const auto pieces = cut(input.first(std::min<size_t>(input.size(), 16)), 1 + piece % 5);
    const tls::Frame whole = tls::next_record(phase, input);
    const tls::Frame in_pieces =
        tls::next_record(phase, std::span<const crypto::ConstPiece>(pieces));
    if (whole.verdict != in_pieces.verdict) std::abort();
    const tls::Verdict half = tls::next_record(phase, input.first(input.size() / 2)).verdict;
    if (half != tls::Verdict::NeedMore && half != whole.verdict) std::abort();
  }

  abi::InstallKeys message = fuzz::make_keys(fuzz::variant_of(data[0]));
  End server(message);
  std::swap(message.open, message.seal);
  End client(message);
  serve_sealed(server, client, input, piece);
  return 0;
}
