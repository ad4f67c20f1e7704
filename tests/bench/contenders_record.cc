// The record layer as a worker calls it, keys from its cache. Opening needs records that were
// sealed one after the other, because the sequence number is part of each: they are made by the
// client's end of the same keys before each round.
#include <cstring>

#include "../unit/tls/fixture.h"
#include "abi/assert.h"
#include "contender.h"
#include "tls/open.h"
#include "tls/seal.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kKeyCacheEntries = 512;

std::vector<tls::ConstPiece> cut_up(const uint8_t* data, uint32_t length, Cut cut) {
  const uint32_t most = cut == Cut::Whole ? length : kSegmentBytes;
  std::vector<tls::ConstPiece> pieces;
  for (uint32_t at = 0; at < length; at += most) {
    pieces.push_back({data + at, std::min(most, length - at)});
  }
  return pieces;
}

struct Flow {
  tls::FlowKeys worker;
  tls::FlowKeys client;
  std::vector<uint8_t> plaintext;
  std::vector<uint8_t> out;
  std::vector<tls::ConstPiece> pieces;
};

class RecordLayer : public Contender {
 public:
  RecordLayer(const Task& task, Cut cut)
      : task_(task), cut_(cut), worker_(kKeyCacheEntries), client_(kKeyCacheEntries) {
    flows_.resize(task.flows);
    for (uint32_t i = 0; i < task.flows; ++i) {
      Flow& flow = flows_[i];
      abi::InstallKeys keys = tls::test::make_keys(task.suite->id, 1000 + i);
      keys.header.flow.index = i;
      SLUICE_ASSERT(tls::install_keys(worker_.layer, keys, flow.worker));
      SLUICE_ASSERT(tls::install_keys(client_.layer, tls::test::mirrored(keys), flow.client));
      flow.plaintext = make_plaintext(task.bytes);
      sealed_bytes_ = tls::sealed_size(flow.client, task.bytes);
      flow.out.resize(sealed_bytes_ + 64);
      flow.pieces = cut_up(flow.plaintext.data(), task.bytes, cut);
    }
  }
  ~RecordLayer() override {
    for (Flow& flow : flows_) {
      tls::end_keys(worker_.layer, flow.worker);
      tls::end_keys(client_.layer, flow.client);
    }
  }

  void prepare(uint32_t records) override {
    if (!task_.open) return;
    sealed_.resize(records);
    sealed_pieces_.resize(records);
    for (uint32_t i = 0; i < records; ++i) {
      Flow& flow = flows_[i % task_.flows];
      sealed_[i].resize(sealed_bytes_);
      const tls::ConstPiece piece{flow.plaintext.data(), task_.bytes};
      SLUICE_ASSERT(tls::seal_record(client_.layer, flow.client,
                                     tls::ContentType::application_data, {&piece, 1},
                                     sealed_[i].data()) == sealed_bytes_);
      sealed_pieces_[i] = cut_up(sealed_[i].data(), sealed_bytes_, cut_);
    }
  }

  void run(uint32_t records) override {
    for (uint32_t i = 0; i < records; ++i) {
      Flow& flow = flows_[i % task_.flows];
      if (task_.open) {
        correct_ &= tls::open_record(worker_.layer, flow.worker, sealed_pieces_[i],
                                     flow.out.data())
                        .verdict == tls::Verdict::Accept;
      } else {
        correct_ &= tls::seal_record(worker_.layer, flow.worker,
                                     tls::ContentType::application_data, flow.pieces,
                                     flow.out.data()) == sealed_bytes_;
      }
    }
  }

  bool correct() override {
    if (task_.open) {
      prepare(task_.flows);
      run(task_.flows);
      for (const Flow& flow : flows_) correct_ &= is_plaintext(flow.out, flow);
      return correct_;
    }
    // The client's end has seen none of the records above: fresh keys, whose first one it can open.
    tls::test::Pair pair(tls::test::make_keys(task_.suite->id, 1));
    Flow& flow = flows_[0];
    correct_ &= tls::seal_record(pair.server.layer, pair.server.keys,
                                 tls::ContentType::application_data, flow.pieces,
                                 flow.out.data()) == sealed_bytes_;
    const tls::ConstPiece record{flow.out.data(), sealed_bytes_};
    std::vector<uint8_t> plain(sealed_bytes_);
    correct_ &= tls::open_record(pair.client.layer, pair.client.keys, {&record, 1}, plain.data())
                    .verdict == tls::Verdict::Accept;
    return correct_ && is_plaintext(plain, flow);
  }

 private:
  bool is_plaintext(const std::vector<uint8_t>& bytes, const Flow& flow) const {
    return std::memcmp(bytes.data(), flow.plaintext.data(), task_.bytes) == 0;
  }

  Task task_;
  Cut cut_;
  tls::test::End worker_;
  tls::test::End client_;
  std::vector<Flow> flows_;
  uint32_t sealed_bytes_ = 0;
  std::vector<std::vector<uint8_t>> sealed_;
  std::vector<std::vector<tls::ConstPiece>> sealed_pieces_;
  bool correct_ = true;
};

}  // namespace

std::unique_ptr<Contender> make_record_layer(const Task& task, Cut cut) {
  return std::make_unique<RecordLayer>(task, cut);
}

}  // namespace sluice::bench
