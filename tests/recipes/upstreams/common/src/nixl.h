int serdes_size();
