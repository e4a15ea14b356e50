// MetricsRegistry: the counters, gauges and histograms of a process, in the form that Prometheus reads.
//
// Passed by reference to whoever counts; there is no global one. Names are penstock_<module>_<what>_<unit>,
// counters end in _total, and units are base units (seconds, bytes, rows). A name that breaks these rules, or
// that is declared twice, is a defect of the program and ends it.
//
// Any thread may declare, count and read. References stay valid as long as the registry. Counting is a
// compare-and-swap on one word; what is too hot even for that (the push path) counts in plain fields of its
// own and is read at exposition time through a callback.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace penstock {

using Counter = prometheus::Counter;      // Increment(n)
using Gauge = prometheus::Gauge;          // Set(v), Increment(n), Decrement(n)
using Histogram = prometheus::Histogram;  // Observe(v)

// Series of one name told apart by labels. Made by MetricsRegistry.
template <typename Metric>
class MetricFamily {
 public:
  // The series with these values, in the order of the label names. Beyond `max_series` different ones, that
  // of "other" for every label: an unbounded label would eat the memory of this process and of its
  // monitoring.
  Metric& With(const std::vector<std::string>& label_values);

  class Impl;
  explicit MetricFamily(std::unique_ptr<Impl> impl);
  ~MetricFamily();

 private:
  std::unique_ptr<Impl> impl_;
};

class MetricsRegistry {
 public:
  MetricsRegistry();
  ~MetricsRegistry();
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  Counter& AddCounter(const std::string& name, const std::string& help);
  Gauge& AddGauge(const std::string& name, const std::string& help);
  // `bounds`: upper bounds of the buckets, rising; one more bucket takes the rest.
  Histogram& AddHistogram(const std::string& name, const std::string& help,
                          const std::vector<double>& bounds);

  MetricFamily<Counter>& AddCounters(const std::string& name, const std::string& help,
                                     std::vector<std::string> labels, size_t max_series = 64);
  MetricFamily<Gauge>& AddGauges(const std::string& name, const std::string& help,
                                 std::vector<std::string> labels, size_t max_series = 64);
  MetricFamily<Histogram>& AddHistograms(const std::string& name, const std::string& help,
                                         std::vector<std::string> labels, const std::vector<double>& bounds,
                                         size_t max_series = 64);

  struct Sample {
    std::vector<std::string> label_values;
    double value = 0;
  };
  // Read at exposition, on the thread that calls Text; it must be quick and safe from that thread until the
  // registry is destroyed. A name that ends in _total is shown as a counter, any other as a gauge.
  void AddCallback(const std::string& name, const std::string& help, std::function<double()> read);
  void AddCallbacks(const std::string& name, const std::string& help, std::vector<std::string> labels,
                    std::function<std::vector<Sample>()> read);

  // Text exposition format 0.0.4.
  std::string Text() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// start, start * factor, ... `count` bounds: for histograms of times and sizes.
std::vector<double> ExponentialBounds(double start, double factor, size_t count);

}  // namespace penstock
