;; For Leiningen, where a topology is submitted the way of stock streamparse. Stormline itself needs neither.
(defproject stormline "0.1.0"
  :description "Python topologies for Apache Storm: Kafka in, windows by key, results in Redis"
  :min-lein-version "2.0.0"
  :resource-paths ["_resources"]
  :target-path "_build"
  :dependencies [[org.apache.storm/storm-client "2.8.3"]])
