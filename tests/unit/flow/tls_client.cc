// Records with the library's own seal and open: the client's keys are the server's turned around.
#include "tls_client.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tls/open.h"
#include "tls/seal.h"

namespace sluice::flow::test {

namespace {

Bytes record(uint8_t type, const Bytes& body) {
  Bytes bytes(abi::kRecordHeaderBytes);
  tls::write_header(bytes.data(), static_cast<tls::ContentType>(type), 0x0303,
                    static_cast<uint32_t>(body.size()));
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

}  // namespace

Bytes client_hello(uint32_t length) {
  Bytes body = pattern(std::max(length, 6U), 99);
  const uint8_t start[6] = {
      1, 0, static_cast<uint8_t>((body.size() - 4) >> 8), static_cast<uint8_t>(body.size() - 4),
      3, 3};
  std::memcpy(body.data(), start, sizeof start);
  return record(22, body);
}

Bytes client_finished(uint32_t length) { return record(23, pattern(length, 98)); }

TlsClient::TlsClient(World& in) : world(in), peer(in.connect_tls()) {
  abi::InstallKeys keys = world.keys_of(peer.tcb.tuple.local.port);
  keys.open.fragment_limit_bytes = abi::kMaxPlaintextBytes;  // it can break what was agreed
  EXPECT_TRUE(tls::install_keys(end.layer, tls::test::mirrored(keys), end.keys));
  peer.on_data = [this](Peer&) { on_data(); };
}

Bytes TlsClient::seal(tls::ContentType type, const Bytes& plain) {
  const auto length = static_cast<uint32_t>(plain.size());
  Bytes out(tls::sealed_size(end.keys, length));
  const tls::ConstPiece piece{plain.data(), length};
  const uint32_t sealed = tls::seal_record(end.layer, end.keys, type, {&piece, 1}, out.data());
  EXPECT_GT(sealed, 0U);
  out.resize(sealed);
  return out;
}

Bytes TlsClient::seal_stream(const Bytes& plain, uint32_t max_record, std::mt19937& random) {
  Bytes out;
  for (size_t at = 0; at < plain.size();) {
    const size_t length = std::min<size_t>(1 + random() % max_record, plain.size() - at);
    const auto start = plain.begin() + static_cast<std::ptrdiff_t>(at);
    const Bytes sealed = seal(tls::ContentType::application_data,
                              Bytes(start, start + static_cast<std::ptrdiff_t>(length)));
    out.insert(out.end(), sealed.begin(), sealed.end());
    at += length;
  }
  return out;
}

void TlsClient::shake_hands(const Bytes& after, bool fin) {
  shaking_ = true;
  fin_after_flight_ = fin;
  after_flight_ = client_finished();
  after_flight_.insert(after_flight_.end(), after.begin(), after.end());
  write(client_hello());
}

void TlsClient::on_data() {
  const Bytes& in = peer.received;
  if (!flight_complete && in.size() >= world.flight_bytes) {
    flight_complete = true;
    flight.assign(in.begin(), in.begin() + world.flight_bytes);
    EXPECT_EQ(flight, pattern(world.flight_bytes, peer.tcb.tuple.local.port));
    parsed_ = world.flight_bytes;
    if (shaking_) write(after_flight_);
    if (fin_after_flight_) finish();
  }
  if (!flight_complete) return;
  const size_t before = plaintext.size();
  while (!open_failed && open_next()) {
  }
  if (on_plaintext && plaintext.size() != before) on_plaintext(*this);
}

// False: no whole record is left.
bool TlsClient::open_next() {
  const Bytes& in = peer.received;
  if (in.size() - parsed_ < abi::kRecordHeaderBytes) return false;
  const uint32_t length =
      abi::kRecordHeaderBytes + static_cast<uint32_t>(in[parsed_ + 3] << 8 | in[parsed_ + 4]);
  if (in.size() - parsed_ < length) return false;
  const tls::ConstPiece piece{in.data() + parsed_, length};
  Bytes out(length);
  const tls::OpenResult opened = tls::open_record(end.layer, end.keys, {&piece, 1}, out.data());
  parsed_ += length;
  if (opened.verdict != tls::Verdict::Accept) {
    open_failed = true;
    return false;
  }
  EXPECT_FALSE(got_close_notify) << "a record behind close_notify";
  EXPECT_EQ(alert, -1) << "a record behind a fatal alert";
  out.resize(opened.length);
  if (opened.type == tls::ContentType::application_data) {
    data_records.push_back(length);
    plaintext.insert(plaintext.end(), out.begin(), out.end());
  } else if (opened.type == tls::ContentType::alert) {
    if (out[1] == 0) {
      got_close_notify = true;
    } else if (out[1] == 100) {
      ++renegotiation_refused;
    } else {
      alert = out[1];
    }
  } else {
    ++key_updates;
    tls::update_keys(end.layer, end.keys, tls::Direction::Open);
  }
  return true;
}

void establish(World& world, TlsClient& client, const Bytes& after) {
  const size_t backends = world.backend_host.peers.size();
  client.shake_hands(after);
  ASSERT_TRUE(world.run_until([&] {
    return client.flight_complete && world.backend_host.peers.size() > backends &&
           world.backend_host.peers.back()->connected;
  }));
  world.run_for(20'000);
}

void say(World& world, TlsClient& client, const Bytes& bytes) {
  client.write(bytes);
  world.client_host.pump(world.now);
}

void say_and_close(TlsClient& client, const Bytes& up) {
  std::mt19937 random(7);
  const Bytes stream = client.seal_stream(up, 4000, random);
  client.shake_hands(join({stream, client.close_notify()}), true);
}

void close_both(World& world, TlsClient& client, Peer& backend) {
  client.write(client.close_notify());
  client.finish();
  backend.finish = true;
  world.client_host.pump(world.now);
  world.backend_host.pump(world.now);
}

}  // namespace sluice::flow::test
