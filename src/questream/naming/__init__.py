"""The pure core of names: what a cluster's questions share and other clusters' do not."""
