// Opening what an attacker made, with valid keys of every suite: raw bytes behind a header, and
// properly sealed records of which the input flips bits, so that padding and MAC are met as well.
// The first byte picks suite and version, the second how: a stream, or a change to sealed records.
//
// What must hold: pieces and batches change nothing; a refusal leaves zeros; whatever is accepted
// was sealed.
#include <cstring>

#include "record_keys.h"
#include "tls/cbc.h"
#include "tls/limits.h"

namespace {

using namespace sluice;
using fuzz::End;

struct Answer {
  tls::OpenResult result;
  std::vector<uint8_t> plaintext;
};

Answer open_one(End& end, std::span<const uint8_t> record, size_t piece) {
  const auto pieces = fuzz::cut(record, piece);
  const auto length = static_cast<uint32_t>(record.size()) - abi::kRecordHeaderBytes;
  std::vector<uint8_t> out(tls::open_output_bytes(end.keys, length));
  const tls::OpenResult result = tls::open_record(end.layer, end.keys, pieces, out.data());
  if (result.verdict != tls::Verdict::Accept) {
    if (!std::all_of(out.begin(), out.end(), [](uint8_t byte) { return byte == 0; })) std::abort();
    return {result, {}};
  }
  if (result.length > abi::kMaxPlaintextBytes) std::abort();
  out.resize(result.length);
  return {result, out};
}

// The records of a stream, whole ones.
std::vector<std::span<const uint8_t>> frame(const End& end, std::span<const uint8_t> stream) {
  std::vector<std::span<const uint8_t>> records;
  while (true) {
    const tls::Frame next = tls::next_record(tls::phase_of(end.keys), stream);
    if (next.verdict != tls::Verdict::Accept || next.record_bytes > stream.size()) return records;
    records.push_back(stream.first(next.record_bytes));
    stream = stream.subspan(next.record_bytes);
  }
}

void check_batch(End& end, const std::vector<std::span<const uint8_t>>& records,
                 const std::vector<Answer>& expected) {
  std::vector<tls::CbcOpen> jobs(records.size());
  std::vector<std::vector<uint8_t>> rooms(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    rooms[i].resize(records[i].size());
    const crypto::ConstPiece piece{records[i].data(), static_cast<uint32_t>(records[i].size())};
    tls::prepare_open(end.keys, {&piece, 1}, rooms[i].data(), jobs[i]);
  }
  tls::open_batch(end.layer, jobs);
  for (size_t i = 0; i < records.size(); ++i) {
    const tls::OpenResult& got = jobs[i].result;
    if (got.verdict != expected[i].result.verdict || got.length != expected[i].result.length ||
        got.refusal.reason != expected[i].result.refusal.reason) {
      std::abort();
    }
    if (got.verdict != tls::Verdict::Accept || got.length == 0) continue;
    if (std::memcmp(jobs[i].plaintext, expected[i].plaintext.data(), got.length) != 0) std::abort();
  }
}

void open_stream(const abi::InstallKeys& message, std::span<const uint8_t> stream, size_t piece,
                 bool forged) {
  End whole(message);
  End in_pieces(message);
  End in_batch(message);
  const auto records = frame(whole, stream);
  std::vector<Answer> answers;
  for (const auto record : records) {
    answers.push_back(open_one(whole, record, record.size()));
    const Answer cut = open_one(in_pieces, record, piece);
    const Answer& answer = answers.back();
    if (cut.result.verdict != answer.result.verdict || cut.plaintext != answer.plaintext) {
      std::abort();
    }
    if (forged && answer.result.verdict == tls::Verdict::Accept) std::abort();
  }
  if (whole.keys.cbc()) check_batch(in_batch, records, answers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const abi::InstallKeys message = fuzz::make_keys(fuzz::variant_of(data[0]));
  const size_t piece = 1U + (data[1] >> 2);
  std::span<const uint8_t> input(data + 2, size - 2);
  if ((data[1] & 1) == 0) {
    open_stream(message, input, piece, true);
    return 0;
  }
  // Records that a client has sealed, with the input laid over them bit by bit.
  abi::InstallKeys mirrored = message;
  std::swap(mirrored.open, mirrored.seal);
  End client(mirrored);
  std::vector<uint8_t> stream;
  for (uint32_t i = 0; i < 1U + (data[1] >> 6); ++i) {
    const std::vector<uint8_t> text(input.size() / 4, static_cast<uint8_t>(i));
    const crypto::ConstPiece content{text.data(), static_cast<uint32_t>(text.size())};
    const auto record = fuzz::seal(client, tls::ContentType::application_data, {&content, 1});
    stream.insert(stream.end(), record.begin(), record.end());
  }
  for (size_t i = 0; i < std::min(input.size(), stream.size()); ++i) stream[i] ^= input[i];
  open_stream(message, stream, piece, false);
  return 0;
}
