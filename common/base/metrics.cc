// MetricsRegistry over prometheus-cpp's registry and text serializer.
#include "common/base/metrics.h"

#include <glog/logging.h>
#include <prometheus/family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

namespace penstock {
namespace {

constexpr std::string_view kTotal = "_total";

bool IsName(std::string_view text) {
  return !text.empty() && text.front() >= 'a' && text.front() <= 'z' && text.back() != '_' &&
         std::ranges::all_of(
             text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

void CheckName(const std::string& name, bool is_counter) {
  CHECK(IsName(name) && name.starts_with("penstock_") && name.find("__") == std::string::npos &&
        std::ranges::count(name, '_') >= 2)
      << "metric '" << name << "': must be penstock_<module>_<what>_<unit>[_total] in a-z, 0-9 and _";
  CHECK_EQ(name.ends_with(kTotal), is_counter)
      << "metric '" << name << "': counters, and only they, end in _total";
}

void CheckLabels(const std::string& name, const std::vector<std::string>& labels) {
  for (const std::string& label : labels)
    CHECK(IsName(label)) << "metric '" << name << "' has a label '" << label << "'";
}

}  // namespace

// Makes the series of a family as they are asked for.
template <typename Metric>
class MetricFamily<Metric>::Impl {
 public:
  using Make = std::function<Metric&(const prometheus::Labels&)>;
  Impl(std::string name, std::vector<std::string> labels, size_t max_series, Make make)
      : name_(std::move(name)), labels_(std::move(labels)), max_series_(max_series), make_(std::move(make)) {}

  Metric& With(const std::vector<std::string>& values) {
    CHECK_EQ(values.size(), labels_.size()) << "metric '" << name_ << "': one value for each label";
    const std::lock_guard lock(mutex_);
    if (const auto found = series_.find(values); found != series_.end()) return *found->second;
    if (series_.size() < max_series_) return Make1(values);
    const std::vector<std::string> other(labels_.size(), "other");
    const auto found = series_.find(other);
    return found != series_.end() ? *found->second : Make1(other);
  }

 private:
  Metric& Make1(const std::vector<std::string>& values) {
    prometheus::Labels labels;
    for (size_t i = 0; i < values.size(); ++i) labels.emplace(labels_[i], values[i]);
    return *(series_[values] = &make_(labels));
  }

  const std::string name_;
  const std::vector<std::string> labels_;
  const size_t max_series_;
  const Make make_;
  std::mutex mutex_;
  std::map<std::vector<std::string>, Metric*> series_;  // guarded by mutex_
};

template <typename Metric>
MetricFamily<Metric>::MetricFamily(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
template <typename Metric>
MetricFamily<Metric>::~MetricFamily() = default;
template <typename Metric>
Metric& MetricFamily<Metric>::With(const std::vector<std::string>& label_values) {
  return impl_->With(label_values);
}

template class MetricFamily<Counter>;
template class MetricFamily<Gauge>;
template class MetricFamily<Histogram>;

class MetricsRegistry::Impl {
 public:
  struct Callback {
    std::string name;
    std::string help;
    std::vector<std::string> labels;
    std::function<std::vector<Sample>()> read;
  };

  void Claim(const std::string& name, const std::vector<std::string>& labels, bool is_counter) {
    CheckName(name, is_counter);
    CheckLabels(name, labels);
    const std::lock_guard lock(mutex_);
    CHECK(names_.insert(name).second) << "metric '" << name << "' is declared twice";
  }

  template <typename Metric>
  MetricFamily<Metric>& Keep(std::vector<std::unique_ptr<MetricFamily<Metric>>>& families,
                             const std::string& name, std::vector<std::string> labels, size_t max_series,
                             std::function<Metric&(const prometheus::Labels&)> make) {
    auto impl = std::make_unique<typename MetricFamily<Metric>::Impl>(name, std::move(labels), max_series,
                                                                      std::move(make));
    const std::lock_guard lock(mutex_);
    return *families.emplace_back(std::make_unique<MetricFamily<Metric>>(std::move(impl)));
  }

  void AddCallback(Callback callback) {
    const std::lock_guard lock(mutex_);
    callbacks_.push_back(std::move(callback));
  }

  std::vector<Callback> Callbacks() const {
    const std::lock_guard lock(mutex_);
    return callbacks_;
  }

  prometheus::Registry registry;
  std::vector<std::unique_ptr<MetricFamily<Counter>>> counters;  // these three are changed by Keep only
  std::vector<std::unique_ptr<MetricFamily<Gauge>>> gauges;
  std::vector<std::unique_ptr<MetricFamily<Histogram>>> histograms;

 private:
  mutable std::mutex mutex_;
  std::set<std::string> names_;  // guarded by mutex_, like what follows
  std::vector<Callback> callbacks_;
};

MetricsRegistry::MetricsRegistry() : impl_(std::make_unique<Impl>()) {}
MetricsRegistry::~MetricsRegistry() = default;

Counter& MetricsRegistry::AddCounter(const std::string& name, const std::string& help) {
  return AddCounters(name, help, {}, 1).With({});
}

Gauge& MetricsRegistry::AddGauge(const std::string& name, const std::string& help) {
  return AddGauges(name, help, {}, 1).With({});
}

Histogram& MetricsRegistry::AddHistogram(const std::string& name, const std::string& help,
                                         const std::vector<double>& bounds) {
  return AddHistograms(name, help, {}, bounds, 1).With({});
}

MetricFamily<Counter>& MetricsRegistry::AddCounters(const std::string& name, const std::string& help,
                                                    std::vector<std::string> labels, size_t max_series) {
  impl_->Claim(name, labels, /*is_counter=*/true);
  auto* family = &prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry);
  return impl_->Keep<Counter>(impl_->counters, name, std::move(labels), max_series,
                              [family](const prometheus::Labels& l) -> Counter& { return family->Add(l); });
}

MetricFamily<Gauge>& MetricsRegistry::AddGauges(const std::string& name, const std::string& help,
                                                std::vector<std::string> labels, size_t max_series) {
  impl_->Claim(name, labels, /*is_counter=*/false);
  auto* family = &prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry);
  return impl_->Keep<Gauge>(impl_->gauges, name, std::move(labels), max_series,
                            [family](const prometheus::Labels& l) -> Gauge& { return family->Add(l); });
}

MetricFamily<Histogram>& MetricsRegistry::AddHistograms(const std::string& name, const std::string& help,
                                                        std::vector<std::string> labels,
                                                        const std::vector<double>& bounds,
                                                        size_t max_series) {
  impl_->Claim(name, labels, /*is_counter=*/false);
  auto* family = &prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry);
  return impl_->Keep<Histogram>(
      impl_->histograms, name, std::move(labels), max_series,
      [family, bounds](const prometheus::Labels& l) -> Histogram& { return family->Add(l, bounds); });
}

void MetricsRegistry::AddCallback(const std::string& name, const std::string& help,
                                  std::function<double()> read) {
  AddCallbacks(name, help, {}, [read = std::move(read)] { return std::vector<Sample>{{{}, read()}}; });
}

void MetricsRegistry::AddCallbacks(const std::string& name, const std::string& help,
                                   std::vector<std::string> labels,
                                   std::function<std::vector<Sample>()> read) {
  impl_->Claim(name, labels, name.ends_with(kTotal));
  impl_->AddCallback({name, help, std::move(labels), std::move(read)});
}

std::string MetricsRegistry::Text() const {
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  for (const Impl::Callback& callback : impl_->Callbacks()) {
    const bool is_counter = callback.name.ends_with(kTotal);
    prometheus::MetricFamily family{
        callback.name,
        callback.help,
        is_counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge,
        {}};
    for (const Sample& sample : callback.read()) {
      prometheus::ClientMetric metric;
      CHECK_EQ(sample.label_values.size(), callback.labels.size()) << "metric '" << callback.name << "'";
      for (size_t i = 0; i < callback.labels.size(); ++i)
        metric.label.push_back({callback.labels[i], sample.label_values[i]});
      (is_counter ? metric.counter.value : metric.gauge.value) = sample.value;
      family.metric.push_back(std::move(metric));
    }
    families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

std::vector<double> ExponentialBounds(double start, double factor, size_t count) {
  std::vector<double> bounds;
  for (double bound = start; bounds.size() < count; bound *= factor) bounds.push_back(bound);
  return bounds;
}

}  // namespace penstock
