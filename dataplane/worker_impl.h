// What the parts of the worker share. Included by worker*.cc alone.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "crypto/provider.h"
#include "flow/engine.h"
#include "net/fragments.h"
#include "net/icmp.h"
#include "net/joiner.h"
#include "net/neighbor.h"
#include "net/wire.h"
#include "tcp/pools.h"
#include "tls/key_cache.h"
#include "worker.h"

namespace sluice::dataplane {

using tcp::Micros;

// How a frame came to this worker.
enum class Arrival : uint8_t {
  Received,     // from its own queue
  HandedOver,   // from another worker, which found that it belongs here
  Reassembled,  // of fragments that this worker received
};

struct Worker::Impl {
  Impl(const WorkerSettings& settings, net::Nic& nic, crypto::Provider provider);

  // worker.cc
  bool turn(Micros now);
  void account(bool busy, Micros next_us);
  void follow_control(Worker& worker, Micros now);
  void send_wake_ups();
  void publish(Micros now);
  void idle(Micros now);

  // worker_frames.cc
  void handle_batch(Arrival arrival, Micros now);
  void handle(const net::Frame& frame, Arrival arrival, Micros now);
  void deliver(Micros now);
  void handle_neighbor(const net::Frame& frame, Arrival arrival, Micros now);
  void handle_fragment(const net::Frame& frame, Arrival arrival, Micros now);
  bool belongs_elsewhere(const net::FlowTuple& tuple, const net::Frame& frame, Arrival arrival);
  bool emit(const net::Segment& segment);
  void drain_neighbors(uint32_t port);

  WorkerSettings settings;
  abi::Counters counters;
  net::NicWorker& nic;
  crypto::Provider provider;
  tls::KeyCache key_cache;
  tls::RecordLayer records;
  tcp::Pools pools;
  tcp::TcpConfig tcp_config;
  tcp::Stack stack;
  tcp::Listener listener;
  std::vector<std::unique_ptr<net::NeighborTable>> neighbors;  // by port
  net::FragmentTable fragments;
  net::IcmpResponder icmp;
  std::unique_ptr<flow::Engine> engine;
  net::FrameBatch batch;
  net::Packet packet;
  net::Joiner joiner;
  ControlLife* life = nullptr;
  Micros now = 0;
  Micros published_us = 0;
  uint32_t idle_polls = 0;
  bool relax = false;
  bool segmentation_offload = false;  // by a port
  std::atomic<bool> mispredicted{false};  // for the main thread's log
};

}  // namespace sluice::dataplane
