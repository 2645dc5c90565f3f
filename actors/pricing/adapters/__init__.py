"""Where the pricing actor touches the outside: price sources, files and buckets."""
